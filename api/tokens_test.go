package api

import (
	"strings"
	"testing"
)

// FuzzTokens reads any file of tokens: it is refused, or it says of each token whose it is.
func FuzzTokens(f *testing.F) {
	hash := strings.Repeat("0a", 32)
	for _, seed := range []string{
		"alice sha256:" + hash + "\n", "# comment\n\n  alice\tsha256:" + hash + "\r\nbob sha256:" + strings.Repeat("0B", 32),
		"alice sha256:" + hash + "\nbob sha256:" + hash, "alice " + hash, "alice sha256:" + hash + "00", "alice", "", "\xff\x00 sha256:" + hash, strings.Repeat("a", 70_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		names, err := parseTokens(text)
		if (err == nil) != (len(names) > 0) {
			t.Fatalf("%d tokens, %v", len(names), err)
		}
		for _, name := range names {
			if name == "" || name != strings.Join(strings.Fields(name), "") {
				t.Fatalf("took %q for a name", name)
			}
		}
		if lines := strings.Count(string(text), "\n") + 1; len(names) > lines {
			t.Fatalf("%d tokens in %d lines", len(names), lines)
		}
	})
}
