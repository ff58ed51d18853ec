// Package system measures the whole bank on Apache Kafka, Apicurio Registry, PostgreSQL and the ClickHouse engine, all on this
// machine, with `ledgerline benchmark`.
//
//	make bench-system
package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/benchmark"
	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

func TestMain(m *testing.M) { kit.Main(m) }

func BenchmarkSystem(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measure(b)
	}
}

func measure(b *testing.B) {
	kit.Start(b, kit.All()...)
	binary := filepath.Join(b.TempDir(), "ledgerline")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "../../../cmd/ledgerline").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	servers := []string{
		"--kafka-brokers", strings.Join(kit.Kafka(b).Brokers(), ","), "--registry-url", kit.Registry(b).URL(),
		"--postgres-url", kit.Postgres(b).URL(), "--clickhouse-url", kit.ClickHouse(b).URL(), "--topic-prefix", kit.Prefix(b),
	}
	run := func(to *bytes.Buffer, args ...string) {
		cmd := exec.CommandContext(b.Context(), binary, append(args, servers...)...)
		cmd.Stdout, cmd.Stderr = to, os.Stderr
		if err := cmd.Run(); err != nil {
			b.Fatalf("ledgerline %s: %v\n%s", args[0], err, to)
		}
	}
	run(&bytes.Buffer{}, "demo", "--once", "--kafka-replication", "1") // a history for the questions

	api, admin := address(b), address(b)
	log, err := os.Create(filepath.Join(b.TempDir(), "all.log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	p, err := process.Start(b.Context(), process.Spec{
		Name: "all", Path: binary, Args: append([]string{"all", "--kafka-replication", "1", "--api-listen", api, "--admin-listen", admin}, servers...),
		Log: log, StopTimeout: time.Minute,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := p.Stop(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	awaitReady(b, p, admin)

	// Warm: a broker that was just started is busy compiling itself for a minute, which no broker in use is.
	run(&bytes.Buffer{}, "benchmark", "--json", "--api-url", "http://"+api, "--duration", setting("BENCH_WARM", "60s"), "--only", "throughput")

	var out bytes.Buffer
	run(&out, append([]string{"benchmark", "--json", "--api-url", "http://" + api, "--duration", setting("BENCH_DURATION", "10s")}, only()...)...)
	var rows []benchmark.Row
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("\nApache Kafka, Apicurio Registry, PostgreSQL and the ClickHouse engine beside the bank and its load; %s\n\n", bench.ThisMachine())
	if err := benchmark.Write(os.Stdout, benchmark.Table, rows); err != nil {
		b.Fatal(err)
	}
	fmt.Println()
	var targets []bench.Target
	for _, r := range rows {
		switch {
		case r.Current == nil: // not measured
		case r.Unit == benchmark.PerSecond || r.Unit == benchmark.Percent:
			targets = append(targets, bench.AtLeast(r.Name, *r.Current, r.Target))
		default:
			targets = append(targets, bench.AtMost(r.Name+"_"+string(r.Unit), *r.Current, r.Target))
		}
	}
	bench.Print(os.Stdout, targets)
	if err := bench.WriteJSON(rows); err != nil {
		b.Fatal(err)
	}
}

func setting(name, standard string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return standard
}

// only are the rows that BENCH_ONLY names, else all.
func only() []string {
	if rows := os.Getenv("BENCH_ONLY"); rows != "" {
		return []string{"--only", rows}
	}
	return nil
}

func address(b *testing.B) string {
	port, err := process.FreePort()
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func awaitReady(b *testing.B, p *process.Process, admin string) {
	for deadline := time.After(2 * time.Minute); ; {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+admin+"/readyz", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-p.Done():
			b.Fatal("all ended: ", p.Err())
		case <-deadline:
			b.Fatal("all does not become ready")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
