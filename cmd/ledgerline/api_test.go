package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Apache's ab against a running demo, with connections kept and not: it counts an answer of another length than the first
// as failed.
func TestAPI_UnderAB(t *testing.T) {
	ab, err := deps.Debian(t.Context(), "ab", "apache2-utils")
	if err != nil {
		t.Fatal(err)
	}
	s := newStand(t)
	d := s.start()
	s.write("create-account.json", `{"owner":"test owner","currency":"EUR","initial_deposit_minor":10000}`)
	url := "http://" + s.address["api"]
	for _, keep := range []string{"", "-k"} {
		for _, args := range []string{
			"-n 1000 -c 50 " + url + "/accounts/summary/test-account-001",
			"-n 500 -c 25 -p create-account.json -T application/json " + url + "/accounts",
		} {
			fields := strings.Fields(keep + " " + args)
			cmd := exec.CommandContext(t.Context(), ab, fields...)
			cmd.Dir = s.folder
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Fatalf("ab %v: %v\n%s", fields, err, &out)
			}
			all := fields[len(strings.Fields(keep))+1]
			if !regexp.MustCompile(`(?m)^Complete requests: +`+all+`$`).Match(out.Bytes()) || !regexp.MustCompile(`(?m)^Failed requests: +0$`).Match(out.Bytes()) ||
				strings.Contains(out.String(), "Non-2xx") {
				t.Errorf("ab %v:\n%s", fields, &out)
			}
			t.Logf("ab %v: p50 %s ms, p90 %s ms, p99 %s ms (race detector on)", fields, percentile(&out, "50"), percentile(&out, "90"), percentile(&out, "99"))
		}
	}
	s.verify(0)
	metrics := s.metrics()
	for _, want := range []string{
		`api_requests_total{code="200",method="GET",route="/accounts/summary/{id}"} 2000`, `api_requests_total{code="201",method="POST",route="/accounts"} 1000`,
		`api_request_seconds_count{method="POST",route="/accounts"} 1000`, `api_cache_hits_total{cache="summaries"}`, `api_pending_writes 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics do not say %s", want)
		}
	}
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

func percentile(out *bytes.Buffer, which string) string {
	found := regexp.MustCompile(`(?m)^ +` + which + `% +(\d+)`).FindSubmatch(out.Bytes())
	if found == nil {
		return "?"
	}
	return string(found[1])
}

func (s *stand) metrics() string {
	s.t.Helper()
	code, body := s.ask(s.address["admin"], "/metrics")
	if code != http.StatusOK {
		s.t.Fatalf("/metrics answers %d %s", code, body)
	}
	return body
}

// asked gets a page of the API and gives its position.
func (s *stand) asked(address, path string) string {
	s.t.Helper()
	res, err := http.Get("http://" + address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Errorf("%s answers %s %s (%v)", path, res.Status, body, err)
	}
	return res.Header.Get(schemas.HeaderPosition)
}

// The role beside a demo: its own address and admin listener, tokens where it can be reached from elsewhere, and what it
// says when it can't start.
func TestAPIRole(t *testing.T) {
	s := newStand(t)
	d := s.start()
	var address [2]string
	for i := range address {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		address[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	role := append([]string{"api", "--api-listen", address[0], "--admin-listen", address[1]}, s.all()...)
	r := s.begin(role...)
	s.await(func() error {
		if code, body := s.ask(address[1], "/readyz"); code != http.StatusOK || !strings.Contains(body, `"api":"ready"`) {
			return fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return nil
	})
	if code, body := s.ask(address[0], "/accounts/summary/test-account-001"); code != http.StatusOK || !strings.Contains(body, `"account_id":"test-account-001"`) {
		t.Errorf("the role answers %d %s", code, body)
	}
	code, body := s.ask(address[0], "/stats")
	var stats struct {
		ES struct {
			Queue struct {
				QueueName map[string]struct {
					AvgItemsPerSecond *float64 `json:"avgItemsPerSecond"`
				} `json:"queueName"`
			} `json:"queue"`
			ReadIndex struct {
				CachedRecord int `json:"cachedRecord"`
			} `json:"readIndex"`
		} `json:"es"`
	}
	if err := json.Unmarshal([]byte(body), &stats); err != nil || code != http.StatusOK || stats.ES.Queue.QueueName["$all"].AvgItemsPerSecond == nil || stats.ES.ReadIndex.CachedRecord != 1 {
		t.Errorf("/stats answers %d %s (%v)", code, body, err)
	}
	if code, body := s.ask(address[0], "/analytics"); code != http.StatusOK || !strings.Contains(body, `"href":"/analytics/top-accounts"`) {
		t.Errorf("/analytics answers %d %s", code, body)
	}
	position := s.asked(address[0], "/analytics/top-accounts?top=3")
	if p, err := schemas.ParsePosition(position); err != nil || len(p) != 12 {
		t.Errorf("an answer of ClickHouse reaches to %q (%v)", position, err)
	}
	s.asked(address[0], "/accounts/summary/test-account-001?wait=30s&position="+position)
	// Who writes, also what is refused, and asks with the position of the answer is told of what was written.
	for i, want := range []string{"CHF,francs,700,", "CHF,francs,700,", "CHF,francs,900,"} {
		operation := []struct{ path, body string }{{"", `{"account_id":"francs","owner":"f","currency":"CHF","initial_deposit_minor":700}`}, {"/francs/withdrawals", `{"amount_minor":701}`}, {"/francs/withdrawals", `{"amount_minor":200}`}}[i]
		res, err := http.Post("http://"+address[0]+"/accounts"+operation.path+"?wait=30s", "application/json", strings.NewReader(operation.body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		path := "/analytics/top-accounts?currency=CHF&format=csv&wait=30s&position=" + res.Header.Get(schemas.HeaderPosition)
		if code, body := s.ask(address[0], path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("after POST %s (%s) %s answers %d %s", operation.path, res.Status, path, code, body)
		}
	}
	r.signal(syscall.SIGTERM)
	r.ends(0)

	s.write("tokens", "alice 0123\n")
	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{1, []string{"--api-listen", s.address["api"]}, []string{"--api-listen " + s.address["api"], "address already in use", "give another address"}},
		{2, []string{"--api-listen", "0.0.0.0:0"}, []string{"--api-tokens FILE", "--api-insecure", "openssl rand", "sha256sum"}},
		{2, []string{"--api-listen", ":0"}, []string{"--api-tokens FILE"}},
		{2, []string{"--api-tokens", filepath.Join(s.folder, "nothing")}, []string{"--api-tokens", "nothing"}},
		{2, []string{"--api-tokens", filepath.Join(s.folder, "tokens")}, []string{"line 1", "alice"}},
		{2, []string{"--api-cache-size", "0"}, []string{"--api-cache-size is 0"}},
	} {
		out := s.run(c.code, append([]string{"api", "--api-listen", address[0], "--admin-listen", address[1]}, c.args...)...)
		for _, words := range c.says {
			if !strings.Contains(out.err, words) {
				t.Errorf("api %v does not say %q: %s", c.args, words, out.err)
			}
		}
	}
	d.signal(syscall.SIGTERM)
	d.ends(0)
}
