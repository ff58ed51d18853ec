package producer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/producer/internal/mutant"
)

// Write sides that lack one rule of the fence: a test sees it. One build has them all (internal/mutant), and a process of it is one of them.
func TestMutantsOfTheWriteSide_AreCaught(t *testing.T) {
	built := filepath.Join(t.TempDir(), "mutants.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-tags", "mutant", "-o", built, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, c := range []struct{ lacks, by string }{
		{"generation", "TestP1_CommitThatIsNotOurs_Refused"},
		{"written", "TestP1_CommitThatIsNotOurs_Refused"},
		{"polled", "TestP1_CommitThatIsNotOurs_Refused"},
		{"unknown", "TestP2_CommitAnsweredWithAServersError_OneEffect/kfake"},
		{"wait", "TestP1_RestoreWaitsForWhatIsUndecided"},
		{"rollback", "TestP1_OffsetsRefused_TakenBack"},
		{"forward", "TestP3_ForeignClient_AnyPartition_NoHeaders"},
		{"timer", "TestP1_WriteThatNoCommandCaused_Refused"},
		{"scheduler", "TestP2_CommandPutOff_DecidedOnceAtItsTime/kfake"},
		{"asked", "TestP1_PartitionsLostTwiceInATransaction_NoneIsKept"},
	} {
		t.Run(c.lacks, func(t *testing.T) {
			t.Parallel() // one of them waits long for a reply that does not come
			cmd := exec.CommandContext(t.Context(), built, "-test.run", "^"+strings.ReplaceAll(c.by, "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), mutant.Variable+"="+c.lacks)
			out, err := cmd.CombinedOutput()
			name, _, _ := strings.Cut(c.by, "/")
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+name) {
				t.Errorf("%s does not catch it: %v\n%s", c.by, err, out)
			}
		})
	}
}
