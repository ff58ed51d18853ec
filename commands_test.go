package ledgerline_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ledgerline-es/ledgerline/bank"
)

// Any domain has every command, and each teaches what it does; what only one domain has comes from that domain.
func TestEveryDomain_HasEveryCommand_AndEachTeaches(t *testing.T) {
	plain := bank.Domain()
	plain.Commands = nil
	for _, name := range []string{
		"demo", "producer", "projector", "api", "monitor", "all", "publish", "events", "topics", "topics plan", "query", "verify", "benchmark", "new", "generate",
		"trace", "config check", "version", "completion bash", "topics acl", "doctor", "dlq list", "dlq show", "dlq retry", "dlq drop", "schedule list", "schedule cancel", "saga list", "saga show", "aggregate show", "state inspect", "state drop",
	} {
		code, out, said := runDomain(t, plain, append(strings.Fields(name), "--help")...)
		if code != 0 || !strings.Contains(out, "Usage:\n  ledgerline "+name) {
			t.Errorf("%s --help: %d %s %s", name, code, out, said)
		}
		if name != "version" && !strings.Contains(out, "ledgerline "+name+" ") && !strings.Contains(out, "Examples:") && !strings.HasPrefix(name, "completion") {
			t.Errorf("%s --help gives no example:\n%s", name, out)
		}
	}
	if code, _, said := runDomain(t, plain, "import"); code != 2 || !strings.Contains(said, `no command "import"`) {
		t.Errorf("the bank's own command, in a domain that has none: %d %s", code, said)
	}
	if code, out, said := runDomain(t, bank.Domain(), "import", "--help"); code != 0 || !strings.Contains(out, "Examples:") {
		t.Errorf("the bank's own command: %d %s %s", code, out, said)
	}
	if code, out, _ := runDomain(t, plain, "version"); code != 0 || !strings.HasPrefix(out, "ledgerline ") {
		t.Errorf("version: %d %s", code, out)
	}
}

// What completes commands in a shell is a script that the shell takes.
func TestCompletion_IsAScript(t *testing.T) {
	code, out, said := runDomain(t, bank.Domain(), "completion", "bash")
	if code != 0 {
		t.Fatalf("%d %s", code, said)
	}
	script := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(script, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	check := ". " + script + ` && complete -p ledgerline`
	if text, err := exec.CommandContext(t.Context(), "bash", "--norc", "-c", check).CombinedOutput(); err != nil || !strings.Contains(string(text), "ledgerline") {
		t.Errorf("bash says %s, %v", text, err)
	}
	if code, out, _ := runDomain(t, bank.Domain(), "__complete", "bench"); code != 0 || !strings.Contains(out, "benchmark\t") {
		t.Errorf("bench is completed to %s", out)
	}
	if code, _, said := runDomain(t, bank.Domain(), "completion", "tcsh"); code != 2 || !strings.Contains(said, `"tcsh"`) {
		t.Errorf("an unknown shell: %d %s", code, said)
	}
}

// What state is asked for is said before anything is touched.
func TestState_WhatItWants(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"inspect", 2, "--producer-state-dir is empty"},
		{"inspect --producer-state-dir " + empty, 0, "GROUP"},
		{"inspect --json --producer-state-dir " + empty, 0, "[]"},
		{"inspect --producer-state-dir " + empty + "/nowhere", 1, "nowhere: no such file"},
		{"drop --producer-state-dir " + empty, 2, "--group and --partition, or --all"},
		{"drop --all --partition 1 --producer-state-dir " + empty, 2, "--group and --partition, or --all"},
		{"drop --all --producer-state-dir " + empty, 0, ""},
		{"drop --group account.producer --partition 1 --producer-state-dir " + empty, 1, "no local state of group account.producer partition 1"},
	} {
		code, out, said := runDomain(t, bank.Domain(), append([]string{"state"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out+said, c.want) {
			t.Errorf("state %s: %d %s %s", c.args, code, out, said)
		}
	}
}
