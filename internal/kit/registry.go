package kit

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// RegistryServer is the Apicurio Registry of this test binary. It keeps everything in memory.
type RegistryServer struct{ registry *apicurio }

// Registry starts the registry if it does not run. Subjects begin with a topic's name, so Prefix separates tests here too.
func Registry(t testing.TB) *RegistryServer {
	t.Helper()
	s := shared.of(UseRegistry)
	s.use(t)
	return &RegistryServer{registry: s.starter.(*apicurio)}
}

// URL is where it speaks the Confluent registry's protocol.
func (r *RegistryServer) URL() string { return r.registry.url() }

// Client is a client of it.
func (r *RegistryServer) Client(t testing.TB) *sr.Client {
	t.Helper()
	return newRegistryClient(t, r.URL())
}

func newRegistryClient(t testing.TB, url string) *sr.Client {
	t.Helper()
	cl, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// apicurio starts the registry.
type apicurio struct{ port int }

func (a *apicurio) name() string            { return "apicurio" }
func (a *apicurio) components() []deps.Name { return []deps.Name{deps.Apicurio} }
func (a *apicurio) url() string {
	return fmt.Sprintf("http://127.0.0.1:%d/apis/ccompat/v7", a.port)
}

func (a *apicurio) start(ctx context.Context, dir string, log io.Writer) (running, error) {
	home, err := deps.Fetch(ctx, deps.Apicurio, log)
	if err != nil {
		return nil, err
	}
	java, err := deps.Java()
	if err != nil {
		return nil, err
	}
	runner, err := filepath.Glob(filepath.Join(home, "*-runner.jar"))
	if err != nil || len(runner) != 1 {
		return nil, fmt.Errorf("%s holds %d runner jars, want one", home, len(runner))
	}
	if a.port == 0 {
		if a.port, err = process.FreePort(); err != nil {
			return nil, err
		}
	}
	p, err := process.Start(ctx, process.Spec{
		Name: "apicurio", Path: java, Dir: dir, Log: log, StopTimeout: time.Minute,
		Args: []string{"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.io.tmpdir=" + dir, "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
			"-cp", runner[0] + string(os.PathListSeparator) + filepath.Join(home, "lib", "*"), "io.quarkus.runner.GeneratedMain"},
		Env: append(os.Environ(), "QUARKUS_HTTP_HOST=127.0.0.1", fmt.Sprintf("QUARKUS_HTTP_PORT=%d", a.port)),
	})
	if err != nil {
		return nil, err
	}
	return p, await(ctx, p, a.answers)
}

func (a *apicurio) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url()+"/subjects", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}
