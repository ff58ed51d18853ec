// Package write measures the write side on Apache Kafka beside two others that read the same commands and write records of the same
// bytes: the bare client, a transactional loop of franz-go with a map and no platform around it, and Kafka Streams with
// exactly_once_v2 (streams/), set up in several ways of which the best counts.
//
//	BENCH_COMMANDS=1000000 BENCH_ACCOUNTS=100000 make bench-write
//	BENCH_STREAMS="threads=2 commit=1s store=rocksdb; threads=1 commit=5s" BENCH_JVM="-Xmx4g" make bench-write
//	BENCH_STREAMS=off BENCH_STREAMS_LATENCY=off make bench-write
//	BENCH_RESTORE_ACCOUNTS=1000000 make bench-write
//	BENCH=Transfer BENCH_TRANSFERS=200000 make bench-write
//
// BENCH is a regexp of the benchmarks that are run: Write, Latency, Restore, Transfers, TransferLatency and Scheduled.
//
// Kafka Streams keeps the accounts in a state store, whose changelog stands where Ledgerline has its snapshots. It runs without and with
// a window store in which repeated commands are found: without, it does what the bare loop does; with it, what Ledgerline does.
// Transfers are three hops until they are completed, each a record consumed and its records produced in one transaction: beside them the bare
// loop does three such hops, and four, as Ledgerline does, whose last lets the target forget the transfer.
// Not compared is what Ledgerline does beyond: senders' numbers, expected versions, forwarding, dead letters, positions in the log.
package write

import (
	"os"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/bench"
	"github.com/ledgerline-es/ledgerline/internal/kit"
)

func TestMain(m *testing.M) { kit.Main(m, victim) }

func BenchmarkWrite(b *testing.B) {
	for b.Loop() { // once, by -benchtime 1x
		measure(b)
	}
}

// report prints targets, and adds a part to the file that BENCH_JSON names.
func report(b *testing.B, part string, rows any, targets []bench.Target) {
	bench.Print(os.Stdout, targets)
	if err := bench.AddJSON(part, map[string]any{"machine": bench.ThisMachine(), "rows": rows, "targets": targets}); err != nil {
		b.Fatal(err)
	}
}

func measure(b *testing.B) {
	settings := streamsSettings(b, "BENCH_STREAMS", throughputSettings)
	p := newPlant(b, number(b, "BENCH_COMMANDS", 1_000_000))
	var other *program
	if settings != nil {
		other = p.program()
	}

	// Warm: a cold broker is several times slower, and its compiler goes on for millions of records.
	warm := p.stage(min(p.commands, 300_000))
	shape := p.ledgerline(1, warm, b.TempDir()).shape
	ours := p.stage(p.commands)
	for range 2 {
		prefix := p.copied(ours)
		p.bare(1, prefix, shape)
		p.drop(prefix)
	}

	c := contest{p: p, of: "commands", audit: p.audit}
	r := p.ledgerline(1, ours, b.TempDir())
	reference := c.add(r, ours)
	for range 2 { // in turns, for a machine has better and worse minutes
		for _, sessions := range []int{1, 2} {
			c.over(ours, func(prefix string) result { return p.bare(sessions, prefix, r.shape) }, nil)
			c.over(ours, func(prefix string) result { return p.ledgerline(sessions, prefix, b.TempDir()) }, reference)
		}
	}
	if other != nil {
		other.prepare(p.copied(warm))
		other.prove()
		best, steady := settings[0], 0.0
		for _, s := range settings {
			if r := c.over(ours, func(prefix string) result { return other.run(prefix, s) }, reference); r.steady > steady {
				best, steady = s, r.steady
			}
		}
		best.window = true
		for range 2 {
			c.over(ours, func(prefix string) result { return other.run(prefix, best) }, reference)
		}
	}

	c.print(p.commands)
	report(b, "throughput", c.rows(), c.targets())
}
