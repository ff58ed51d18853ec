package bank

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/bank/internal/mutant"
)

// Transfers that do what they must not: a test sees it.
func TestMutantsOfTransfers_AreCaught(t *testing.T) {
	built := filepath.Join(t.TempDir(), "mutants.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "mutant_bank", "-o", built, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, c := range []struct{ does, by string }{
		{"timeout", "TestTransfer_EveryAnswerInEveryOrder"},
		{"window", "TestTransfer_AtTheTarget"},
	} {
		t.Run(c.does, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), built, "-test.run", "^"+c.by+"$")
			cmd.Env = append(os.Environ(), mutant.Variable+"="+c.does)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--- FAIL: "+c.by) {
				t.Errorf("%s does not catch it: %v\n%s", c.by, err, out)
			}
		})
	}
}
