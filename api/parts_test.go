package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledgerline-es/ledgerline/producer"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

func TestPages_FollowEachOtherAndStayInTheirList(t *testing.T) {
	all := []int{9, 8, 7, 6, 5, 4, 3}
	var got []int
	page := Page{Limit: 3}
	for range 5 {
		at, err := page.After("acc")
		if err != nil {
			t.Fatal(err)
		}
		rest := all
		if at != "" {
			rest = all[slices.IndexFunc(all, func(n int) bool { return fmt.Sprint(n) == at })+1:]
		}
		l := NewList(rest[:min(len(rest), page.Limit+1)], page.Limit, "acc", func(n int) string { return fmt.Sprint(n) })
		got = append(got, l.Items...)
		if l.NextCursor == nil {
			break
		}
		page.Cursor = *l.NextCursor
		if _, err := page.After("other"); err == nil {
			t.Error("a cursor of one list was taken for another")
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("the pages give %v", got)
	}
	text, err := json.Marshal(NewList[int](nil, 3, "", nil))
	if err != nil || string(text) != `{"items":[],"next_cursor":null}` {
		t.Errorf("an empty list is %s, %v", text, err)
	}
	if _, err := (Page{Cursor: "%%%"}).After("acc"); err == nil {
		t.Error("nonsense was taken for a cursor")
	}
}

func tokenLine(name, token string) string {
	sum := sha256.Sum256([]byte(token))
	return name + " sha256:" + hex.EncodeToString(sum[:]) + "\n"
}

func TestTokens_FileIsReadAndReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# who may come in\n\n" + tokenLine("alice", "secret-a") + tokenLine("bob", "secret-b"))
	tokens, err := ReadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{"secret-a": "alice", "secret-b": "bob", "": "", "secret": "", "sha256": ""} {
		if name, ok := tokens.name(token); name != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", token, name, ok)
		}
	}
	go tokens.follow(t.Context(), slog.New(slog.DiscardHandler))
	write(tokenLine("bob", "secret-b"))
	deadline := time.After(time.Minute)
	for _, known := tokens.name("secret-a"); known; _, known = tokens.name("secret-a") {
		select {
		case <-deadline:
			t.Fatal("a token that was taken out still works")
		case <-time.After(10 * time.Millisecond):
		}
	}
	for text, want := range map[string]string{
		"":                      "no token",
		"alice\n":               "line 1",
		"# x\nalice secret-a\n": "line 2: what stands behind alice",
		"alice sha256:abc\n":    "64 hex digits",
		tokenLine("a", "x") + tokenLine("b", "x"): "line 2: b has the token of a",
	} {
		write(text)
		if _, err := ReadTokens(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, wanted %q", text, err, want)
		}
	}
}

func TestRate_OfTheLastSeconds(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	r := &rate{started: start.Add(-time.Hour)}
	for i := range 30 {
		r.add(start.Add(time.Duration(i)*time.Second), 100)
	}
	if got := r.perSecond(start.Add(29 * time.Second)); got != 100 {
		t.Errorf("%v a second, wanted 100", got)
	}
	if got := r.perSecond(start.Add(34 * time.Second)); got != 50 {
		t.Errorf("five seconds later %v, wanted 50", got)
	}
	if got := r.perSecond(start.Add(90 * time.Second)); got != 0 {
		t.Errorf("a minute later %v, wanted 0", got)
	}
}

type wide struct{ N int64 }

func (wide) Width() int { return 40 }

func TestBodiesOfOneWidth(t *testing.T) {
	for _, n := range []int64{0, 7, -1 << 63, 1<<63 - 1} {
		var body bytes.Buffer
		if err := jsonFormat.Marshal(&body, wide{n}); err != nil || body.Len() != 40 || body.Bytes()[39] != '\n' {
			t.Errorf("%d: %q, %v", n, body.String(), err)
		}
		var back wide
		if err := json.Unmarshal(body.Bytes(), &back); err != nil || back.N != n {
			t.Errorf("%q is read as %v, %v", body.String(), back, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:1": true, "[::1]:8080": true, "127.9.9.9:1": true,
		":8080": false, "0.0.0.0:8080": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false, "127.0.0.1": false,
	} {
		if Loopback(address) != want {
			t.Errorf("%s: %v", address, !want)
		}
	}
}

func TestReplies_TheLastAreRemembered(t *testing.T) {
	r := newReplies(3)
	for i := range 5 {
		r.add("a", replyOf(fmt.Sprint(i)))
	}
	r.add("a", replyOf("4"))
	for i := range 5 {
		if found := r.find(commandKey{"a", fmt.Sprint(i)}) != nil; found != (i >= 2) {
			t.Errorf("reply %d: %v", i, found)
		}
	}
	if r.find(commandKey{"b", "4"}) != nil {
		t.Error("an id of one aggregate was found for another")
	}
	// Another command that was not let have the id says nothing of the first one.
	refused := replyOf("4")
	refused.Code = producer.CodeCommandIDReused
	r.add("a", refused)
	if got := r.find(commandKey{"a", "4"}); got == nil || got.Code != "" {
		t.Errorf("after the id was used again, what became of the command is %+v", got)
	}
}

func replyOf(id string) *ledgerline.Reply { return &ledgerline.Reply{CommandID: id} }

// What fails for long is said once, then rarely: a log that says nothing else is not read.
func TestRetry_SaysOnceThatItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 95*time.Second)
		defer cancel()
		tries := 0
		retry(ctx, slog.New(slog.NewTextHandler(&said, nil)), "asking", func() error {
			tries++
			return errors.New("nobody is there")
		})
		if lines := strings.Count(said.String(), "asking"); lines != 3 || tries < 15 {
			t.Errorf("%d tries in 95 s, and %d lines:\n%s", tries, lines, &said)
		}
	})
}
