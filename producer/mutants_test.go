package producer_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Write sides that lack one rule of the fence: a test sees it. Each is built under a tag of its own (internal/mutant).
func TestMutantsOfTheWriteSide_AreCaught(t *testing.T) {
	for _, c := range []struct{ tag, by string }{
		{"mutant_generation", "TestP1_CommitThatIsNotOurs_Refused"},
		{"mutant_written", "TestP1_CommitThatIsNotOurs_Refused"},
		{"mutant_polled", "TestP1_CommitThatIsNotOurs_Refused"},
		{"mutant_unknown", "TestP2_CommitAnsweredWithAServersError_OneEffect/kfake"},
		{"mutant_wait", "TestP1_RestoreWaitsForWhatIsUndecided"},
		{"mutant_rollback", "TestP1_OffsetsRefused_TakenBack"},
		{"mutant_forward", "TestP3_ForeignClient_AnyPartition_NoHeaders"},
		{"mutant_timer", "TestP1_WriteThatNoCommandCaused_Refused"},
		{"mutant_asked", "TestP1_PartitionsLostTwiceInATransaction_NoneIsKept"},
	} {
		t.Run(c.tag, func(t *testing.T) {
			t.Parallel() // one of them waits long for a reply that does not come
			out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-tags", c.tag, "-run", "^"+strings.ReplaceAll(c.by, "/", "$/^")+"$", ".").CombinedOutput()
			name, _, _ := strings.Cut(c.by, "/")
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+name) {
				t.Errorf("%s does not catch it: %v\n%s", c.by, err, out)
			}
		})
	}
}
