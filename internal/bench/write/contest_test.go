package write

import (
	"fmt"

	"github.com/ledgerline-es/ledgerline/internal/bench"
)

// contest is what all have done over the same commands.
type contest struct {
	p     *plant
	of    string                               // commands or transfers
	audit func(r result, prefix string) *trail // reads back what was written
	runs  []result
}

// add takes a run in, once what it wrote was read back.
func (c *contest) add(r result, prefix string) *trail {
	t := c.audit(r, prefix)
	c.runs = append(c.runs, r)
	return t
}

// over runs somebody over a copy of the commands, which is removed again. With a trail to compare, what was written must be the same.
func (c *contest) over(commands string, run func(prefix string) result, same *trail) result {
	prefix := c.p.copied(commands)
	r := run(prefix)
	t := c.add(r, prefix)
	if same != nil && *t != *same {
		c.p.b.Fatalf("%s wrote other records for the same commands than %s", r, c.runs[0])
	}
	c.p.drop(prefix)
	return r
}

// best is the quickest run of somebody; the zero result if there was none.
func (c *contest) best(who string) (best result) {
	for _, r := range c.runs {
		if r.who == who && r.steady > best.steady {
			best = r
		}
	}
	return best
}

func (c *contest) print(many int) {
	fmt.Printf("\n%d %s on %d accounts in %d partitions of Apache Kafka, all of it a backlog; %s\n\n", many, c.of, c.p.accounts, partitions, bench.ThisMachine())
	fmt.Printf("%-52s %12s %12s %14s %18s\n", "", c.of+"/s", "steady", "CPU s/million", "broker MB/million")
	for _, r := range c.runs {
		fmt.Printf("%-52s %12.0f %12.0f %14.2f %18.1f\n", r, r.rate, r.steady, r.cpu, r.bytes/1e6)
	}
	fmt.Println()
}

// rows are the table for a file.
func (c *contest) rows() (rows []map[string]any) {
	for _, r := range c.runs {
		rows = append(rows, map[string]any{
			"who": r.who, "setting": r.setting, c.of + "_per_second": r.rate, "steady_per_second": r.steady, "cpu_s_per_million": r.cpu, "broker_bytes_per_million": r.bytes,
		})
	}
	return rows
}

// goalOfBare is what part of the bare loop's throughput Ledgerline is to have.
const goalOfBare = 0.7

// targets compare the best run of each.
func (c *contest) targets() []bench.Target {
	ours, bare := c.best(nameOurs), c.best(nameBare)
	targets := []bench.Target{
		bench.AtLeast("write_vs_bare_loop", ours.steady/bare.steady, goalOfBare),
		bench.AtLeast("write_commands_per_second", ours.steady, 100_000),
	}
	for _, other := range []struct{ who, name string }{{nameStreams, "streams"}, {nameWindow, "streams_with_window"}} {
		r := c.best(other.who)
		if r.steady == 0 {
			continue
		}
		targets = append(targets,
			bench.AtLeast("write_vs_"+other.name, ours.steady/r.steady, 2.5),
			bench.AtMost("write_cpu_vs_"+other.name, ours.cpu/r.cpu, 1),
			bench.AtMost("write_broker_bytes_vs_"+other.name, ours.bytes/r.bytes, 1),
		)
	}
	return targets
}
