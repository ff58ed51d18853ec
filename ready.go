package ledgerline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ledgerline-es/ledgerline/internal/cli"
)

func (a *App) readyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask a role on this machine whether it is ready",
		Long: `Asks /readyz of the role whose --admin-listen is given, prints each part that is not ready with its reason, and exits
with 0 when all are, else with 1. For images without a shell, where nothing else can ask.`,
		Example: fmt.Sprintf("  %s ready --admin-listen :9465", a.Domain.Name),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		parts, err := askReady(cmd.Context(), a.values.String("admin.listen"))
		if err != nil {
			return err
		}
		for _, line := range parts {
			fmt.Fprintln(a.Out, line)
		}
		if len(parts) > 0 {
			return cli.Exit(1, nil)
		}
		return nil
	}
	return a.withSettings(cmd, []cli.Setting{adminSetting("127.0.0.1:9464")})
}

// askReady gives the parts that are not ready, with their reasons. The address is one to listen on: no host, or all hosts,
// means this machine.
func askReady(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--admin-listen is %q: %w: give host:port or :port", address, err))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := "http://" + net.JoinHostPort(host, port) + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--admin-listen is %q: %w", address, err))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w; does the role run, with this --admin-listen?", err)
	}
	defer res.Body.Close()
	var state readiness
	if err := json.NewDecoder(res.Body).Decode(&state); err != nil {
		return nil, fmt.Errorf("%s answers %s and no readiness: %w", url, res.Status, err)
	}
	if state.Ready {
		return nil, nil
	}
	var reasons []string
	for part, reason := range state.Parts {
		if reason != partReady {
			reasons = append(reasons, part+": "+strings.TrimPrefix(reason, part+": "))
		}
	}
	if len(reasons) == 0 {
		return nil, errors.New(url + " says not ready, and no reason")
	}
	slices.Sort(reasons)
	return reasons, nil
}
