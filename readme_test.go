package ledgerline_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// The README's commands are run as they stand, but for the addresses: a test takes free ports.
func TestReadme_EveryCommandRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := shellBlock.FindAllSubmatch(readme, -1)
	if len(blocks) < 4 {
		t.Fatalf("%d blocks of commands, there were 4", len(blocks))
	}
	for _, command := range []string{"curl", "psql"} {
		if _, err := deps.Debian(t.Context(), command, map[string]string{"curl": "curl", "psql": "postgresql-client"}[command]); err != nil {
			t.Fatal(err)
		}
	}
	// The first block is the two commands: this test is part of the one, and the other is what runs below.
	for _, target := range []string{"demo", "test"} {
		if !strings.Contains(string(blocks[0][1]), "make "+target) {
			t.Errorf("the README begins without make %s", target)
		}
		if out, err := exec.CommandContext(t.Context(), "make", "-n", target).CombinedOutput(); err != nil {
			t.Errorf("make -n %s: %v\n%s", target, err, out)
		}
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "bin", "ledgerline")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/ledgerline").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	d := startDemo(t, binary, dir)
	for _, block := range blocks[1:] {
		script := d.replacer.Replace(string(block[1]))
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = dir
		cmd.Env = os.Environ()
		if !strings.Contains(script, "demo --once") { // which has servers of its own, unless it is told of others
			cmd.Env = append(cmd.Env, d.env...)
		}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Errorf("%v in\n%s", err, script)
		}
		if bytes.Contains(block[1], []byte("--command-id pay-7")) {
			for _, want := range []string{"duplicate", "insufficient_funds", "test-account-001", "EUR,out,household,", "household", "\nequal", `"ready":true`} {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output does not say %q", want)
				}
			}
		}
	}
}

// demo is a running demo, and what turns the README's addresses into its own.
type demo struct {
	replacer *strings.Replacer
	env      []string
}

func startDemo(t *testing.T, binary, dir string) demo {
	t.Helper()
	source, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	address := kit.Demo(t, binary, dir).At
	resp, err := http.Get("http://" + address["admin"] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz answers %s after the terminal said ready", resp.Status)
	}
	return demo{
		replacer: strings.NewReplacer("ledgerline new shop", "ledgerline new shop --ledgerline-dir "+source, "127.0.0.1:5433", address["postgres"], "127.0.0.1:8123", address["clickhouse"], "127.0.0.1:8080", address["api"], "127.0.0.1:9464", address["admin"]),
		env: []string{
			"LEDGERLINE_KAFKA_BROKERS=" + address["kafka"], "LEDGERLINE_REGISTRY_URL=http://" + address["registry"],
			"LEDGERLINE_POSTGRES_URL=postgres://ledgerline@" + address["postgres"] + "/ledgerline", "LEDGERLINE_CLICKHOUSE_URL=http://" + address["clickhouse"],
			"LEDGERLINE_API_URL=http://" + address["api"],
		},
	}
}
