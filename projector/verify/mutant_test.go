package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/internal/kit"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/projector"
	"github.com/ledgerline-es/ledgerline/projector/internal/logtest"
	"github.com/ledgerline-es/ledgerline/projector/internal/mutant"
	"github.com/ledgerline-es/ledgerline/projector/verify"
	"github.com/ledgerline-es/ledgerline/schemas"
)

// Read sides that are wrong on purpose: verify names the rows by key, and the stores show that it is right.
func TestP9_MutantsOfTheReadSide_AreNamedByKey(t *testing.T) {
	w := logtest.NewWorld(t, 4, 4)
	w.Write(20_000, 500)
	log := w.Setup
	log.MaxBatch = 100 // many writes: rows of balances are harmed by the write, too
	for _, c := range []struct {
		tag  string
		want map[string][]string // by projection: the kinds that must be found
	}{
		{"mutant_drop", map[string][]string{logtest.EntriesName: {projector.Missing}, logtest.FactsName: {projector.Missing}}},
		{"mutant_double", map[string][]string{logtest.FactsName: {projector.Doubled}, logtest.BalancesName: {projector.Altered}}},
		{"mutant_alter", map[string][]string{logtest.EntriesName: {projector.Altered}, logtest.FactsName: {projector.Altered}, logtest.BalancesName: {projector.Altered}}},
		{"mutant_skip_partition", map[string][]string{logtest.EntriesName: {projector.Missing}, logtest.FactsName: {projector.Missing}, logtest.BalancesName: {projector.Missing}}},
	} {
		t.Run(c.tag, func(t *testing.T) {
			// The same log and the same groups, which stand at its end after the first: only the stores are fresh.
			w.Setup = log
			w.PostgresURL, w.DatabasePrefix = kit.Postgres(t).URL(), log.DatabasePrefix+c.tag+"_"
			report := runBuilt(t, w, c.tag)
			if report.Equal {
				t.Fatal("verify calls it equal")
			}
			for name, kinds := range c.want {
				for _, kind := range kinds {
					checkNamed(t, w, c.tag, report, name, kind)
				}
			}
		})
	}
}

// runBuilt builds the projectors under a tag, runs them to the end of the log and verifies what they wrote.
func runBuilt(t *testing.T, w *logtest.World, tag string) (report verify.Report) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "projectors")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, "-o", bin, "github.com/ledgerline-es/ledgerline/projector/internal/mutant/projectors").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var log bytes.Buffer
	p, err := process.Start(t.Context(), process.Spec{Path: bin, Args: w.Setup.Args(), Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	cfg, projections := config(w)
	cfg.MaxFindings = 1_000_000
	logtest.Eventually(t, func() error {
		if report, err = verify.Verify(t.Context(), cfg, projections...); err != nil {
			return err
		}
		for _, p := range report.Projections {
			if p.Behind > 0 { // what a mutant leaves unfinished it never finishes
				return fmt.Errorf("%s is %d behind", p.Projection, p.Behind)
			}
		}
		return nil
	})
	if err := p.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	return report
}

// checkNamed looks every row that a report names up in its store.
func checkNamed(t *testing.T, w *logtest.World, tag string, report verify.Report, name, kind string) {
	t.Helper()
	var keys []string
	for _, f := range report.Findings {
		if f.Projection != name || f.Kind != kind {
			continue
		}
		keys = append(keys, f.Key)
		id, sequence, _ := strings.Cut(f.Key, "/")
		if tag == "mutant_skip_partition" && schemas.Partition(id, w.Partitions) != mutant.SkippedPartition {
			t.Errorf("%s: row %s is not of the partition that was skipped", name, f.Key)
		}
		if len(keys) > 50 {
			continue // enough looked up
		}
		var stored int64
		switch name {
		case logtest.BalancesName:
			stored = w.SQL("SELECT count(*) FROM bank.balances WHERE id = $1", id).(int64)
		case logtest.EntriesName:
			stored = w.SQL("SELECT count(*) FROM bank.entries WHERE id = $1 AND seq = $2::text::bigint", id, sequence).(int64)
		case logtest.FactsName:
			stored = int64(w.Count(fmt.Sprintf("SELECT count() FROM DB_bank.entries WHERE id = '%s' AND seq = %s", id, sequence)))
		}
		if want := map[string]int64{projector.Missing: 0, projector.Altered: 1, projector.Doubled: 2}[kind]; stored != want {
			t.Errorf("%s: row %s is named %s, and is there %d times", name, f.Key, kind, stored)
		}
		if kind == projector.Altered && f.Want == f.Have {
			t.Errorf("%s: row %s is named altered from %q to %q", name, f.Key, f.Want, f.Have)
		}
	}
	if len(keys) < 5 {
		t.Errorf("%s: %d rows named %s, want 5 or more of about %d", name, len(keys), kind, w.Written()/mutant.Every)
		return
	}
	t.Logf("%s: %d rows named %s, such as %s", name, len(keys), kind, keys[0])
}
