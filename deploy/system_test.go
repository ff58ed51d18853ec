package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

// patience is how long a test waits for what must come: machines are slow and busy.
const patience = 2 * time.Minute

// eventually waits until ok says nothing more.
func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// ledgerline builds the program once a test binary. Its folder goes with the test binary.
var ledgerline = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	folder, err := process.TempFolder(ctx, "ledgerline-deploy-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder.Path, "ledgerline")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "../cmd/ledgerline").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// system is the roles as processes of their own, on real servers, and a Prometheus that scrapes them.
type system struct {
	t          *testing.T
	binary     string
	env        []string
	admin      map[string]string // by role
	api        string
	roles      map[string]*process.Process
	prometheus string
}

// roles are those that are started, with what they need beside the environment.
var roles = map[string][]string{
	"producer": {"--kafka-replication", "1", "--kafka-partitions", "4", "--producer-standbys", "1"}, "projector": nil, "api": nil, "monitor": {"--monitor-interval", "250ms"},
}

func newSystem(t *testing.T) *system {
	t.Helper()
	binary, err := ledgerline()
	if err != nil {
		t.Fatal(err)
	}
	kit.Start(t, kit.All()...)
	s := &system{t: t, binary: binary, admin: map[string]string{}, roles: map[string]*process.Process{}}
	s.api = freeAddress(t)
	s.env = append(os.Environ(), "LEDGERLINE_API_LISTEN="+s.api,
		"LEDGERLINE_KAFKA_BROKERS="+strings.Join(kit.Kafka(t).Brokers(), ","), "LEDGERLINE_REGISTRY_URL="+kit.Registry(t).URL(),
		"LEDGERLINE_POSTGRES_URL="+kit.Postgres(t).URL(), "LEDGERLINE_CLICKHOUSE_URL="+kit.ClickHouse(t).URL())
	for role := range roles {
		s.admin[role] = freeAddress(t)
		s.start(role)
	}
	for role := range roles {
		s.ready(role)
	}
	s.scrape()
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// newDemo is a demo with all of its listeners on free ports, and a Prometheus that scrapes it by demo.yml.
func newDemo(t *testing.T) *system {
	t.Helper()
	binary, err := ledgerline()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, binary: binary, api: freeAddress(t)}
	admin, kafka, registry := freeAddress(t), freeAddress(t), freeAddress(t)
	s.launch("demo", binary, []string{
		"demo", "--sample=false", "--data-dir", t.TempDir(), "--admin-listen", admin, "--api-listen", s.api, "--kafka-listen", kafka, "--registry-listen", registry,
		"--postgres-listen", freeAddress(t), "--clickhouse-listen", freeAddress(t),
	})
	s.env = append(os.Environ(), "LEDGERLINE_KAFKA_BROKERS="+kafka, "LEDGERLINE_REGISTRY_URL=http://"+registry)
	s.runPrometheus("demo.yml", strings.NewReplacer(`"127.0.0.1:9464"`, strconv.Quote(admin)))
	s.until(`up{job="ledgerline-demo"} == 1`)
	return s
}

// launch starts a program that ends with the test; when the test fails, it shows what the program said last.
func (s *system) launch(name, path string, args []string) *process.Process {
	s.t.Helper()
	said := &kit.Output{}
	p, err := process.Start(s.t.Context(), process.Spec{Name: name, Path: path, Args: args, Env: s.env, Log: said})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(p.Pid(), syscall.SIGCONT) // it may have ended
		_ = p.Stop(context.WithoutCancel(s.t.Context()))
		if s.t.Failed() {
			s.t.Logf("%s said last:\n%s", name, said.Last(20))
		}
	})
	return p
}

func (s *system) start(role string) {
	s.t.Helper()
	s.roles[role] = s.launch(role, s.binary, append([]string{role, "--admin-listen", s.admin[role]}, roles[role]...))
}

func (s *system) stop(role string) {
	s.t.Helper()
	if err := s.roles[role].Stop(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) signal(role string, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(s.roles[role].Pid(), sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) ready(role string) {
	s.t.Helper()
	eventually(s.t, role+" is ready", func() error {
		code, body, err := get("http://" + s.admin[role] + "/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

func get(address string) (int, []byte, error) {
	res, err := http.Get(address)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, body, err
}

// scrape starts Prometheus with our configuration, but for the targets and the interval.
func (s *system) scrape() {
	s.t.Helper()
	replace := []string{"_interval: 5s", "_interval: 1s"}
	for role, address := range s.admin {
		replace = append(replace, fmt.Sprintf(`"%s:%d"`, role, adminPort[role]), strconv.Quote(address))
	}
	s.runPrometheus("prometheus.yml", strings.NewReplacer(replace...))
	for role := range roles {
		eventually(s.t, "Prometheus scrapes "+role, func() error { return s.holds(`up{job="ledgerline-` + role + `"} == 1`) })
	}
}

// runPrometheus starts Prometheus with one of our configurations, changed.
func (s *system) runPrometheus(configuration string, change *strings.Replacer) {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range []string{configuration, "rules.yml"} {
		text, err := os.ReadFile(filepath.Join("prometheus", name))
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(change.Replace(string(text))), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	address := freeAddress(s.t)
	s.launch("prometheus", debian(s.t, "prometheus"), []string{
		"--config.file", filepath.Join(dir, configuration), "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address, "--log.level", "warn",
	})
	s.prometheus = "http://" + address
}

// adminPort are the default ports of the roles' admin listeners.
var adminPort = map[string]int{"producer": 9465, "projector": 9466, "api": 9467, "monitor": 9468}

// series is one of an answer of Prometheus.
type series struct {
	Metric map[string]string
	Value  [2]any   // of an instant: time, and the value as text
	Values [][2]any // of a range
}

// ask asks Prometheus' HTTP API.
func (s *system) ask(path string, parameters url.Values) ([]series, error) {
	code, body, err := get(s.prometheus + "/api/v1/" + path + "?" + parameters.Encode())
	if err != nil {
		return nil, err
	}
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Status != "success" {
		return nil, fmt.Errorf("%s: %d %s %w", parameters.Get("query"), code, answer.Error, err)
	}
	return answer.Data.Result, nil
}

// holds is nil when a query answers something.
func (s *system) holds(query string) error {
	answer, err := s.ask("query", url.Values{"query": {query}})
	if err == nil && len(answer) == 0 {
		return fmt.Errorf("%s: nothing", query)
	}
	return err
}

// until waits until a query answers something.
func (s *system) until(query string) {
	s.t.Helper()
	eventually(s.t, "Prometheus", func() error { return s.holds(query) })
}

// values are all that a query gave since begun, by series.
func (s *system) values(query string, begun time.Time) (map[string][]string, error) {
	seconds := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	answer, err := s.ask("query_range", url.Values{"query": {query}, "start": {seconds(begun)}, "end": {seconds(time.Now())}, "step": {"1"}})
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, r := range answer {
		key := fmt.Sprint(r.Metric)
		for _, v := range r.Values {
			text := fmt.Sprint(v[1])
			if !slices.Contains(all[key], text) {
				all[key] = append(all[key], text)
			}
		}
	}
	return all, nil
}

// run runs a command of ours and fails unless it ends with the code.
func (s *system) run(wantCode int, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.binary, args...)
	cmd.Env = s.env
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != wantCode {
		s.t.Fatalf("%v: exit code %d, want %d: %v\n%s", args, code, wantCode, err, out)
	}
}

// load imports rows of accounts of its own.
func (s *system) load(name string, accounts, rows int) {
	s.t.Helper()
	var csv bytes.Buffer
	fmt.Fprintln(&csv, "account_id,transaction_id,date,direction,amount_minor,balance_minor,operation,category,counterparty")
	for row := range rows {
		for account := range accounts {
			fmt.Fprintf(&csv, "%s-%d,%d,2026-01-05,credit,100,%d,transfer_in,wages,\n", name, account, row+1, 100*(row+1))
		}
	}
	path := filepath.Join(s.t.TempDir(), name+".csv")
	if err := os.WriteFile(path, csv.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run(0, "import", path, "--currency", "EUR", "--source", name)
}

// request asks the API and fails unless it answers with the status.
func (s *system) request(wantCode int, method, path, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err != nil || res.StatusCode != wantCode {
		s.t.Fatalf("%s %s: %s, want %d: %s %v", method, path, res.Status, wantCode, text, err)
	}
}
