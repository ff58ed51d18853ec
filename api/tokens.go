package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// TokensHelp says how to make a file of tokens.
const TokensHelp = `One line a token: its name, a space, and sha256:HEX of the token; # begins a comment. To make one:

  token=$(openssl rand -hex 32)
  echo "alice sha256:$(printf %s "$token" | sha256sum | cut -d' ' -f1)" >> tokens
  echo "$token"    # give this to alice: Authorization: Bearer TOKEN

The token's name stands in the log as who asked for a command. A changed file is read again within seconds.`

// Tokens are what callers show to say who they are. Only their hashes are kept: whoever reads the file can't use it. A
// plain hash is enough for tokens that are random and long; that is why the file's are not for people to make up.
type Tokens struct {
	path  string
	names atomic.Pointer[tokenNames]
	state atomic.Pointer[os.FileInfo] // of the file that was read
}

type tokenNames map[[sha256.Size]byte]string

// ReadTokens reads a file of tokens. An error names the line.
func ReadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	return t, t.read()
}

func (t *Tokens) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return fmt.Errorf("file of tokens: %w", err)
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return fmt.Errorf("file of tokens: %w", err)
	}
	names, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("file of tokens %s: %w", t.path, err)
	}
	t.names.Store(&names)
	t.state.Store(&info)
	return nil
}

func parseTokens(text []byte) (tokenNames, error) {
	names := tokenNames{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d is not a name and sha256:HEX", n)
		}
		digits, ok := strings.CutPrefix(fields[1], "sha256:")
		sum, err := hex.DecodeString(digits)
		if !ok || err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("line %d: what stands behind %s is not sha256: and 64 hex digits; tokens themselves do not belong here", n, fields[0])
		}
		key := [sha256.Size]byte(sum)
		if other, twice := names[key]; twice {
			return nil, fmt.Errorf("line %d: %s has the token of %s", n, fields[0], other)
		}
		names[key] = fields[0]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("it holds no token: nobody could get in")
	}
	return names, nil
}

// name is whose token it is. Comparing hashes gives nothing away by its time.
func (t *Tokens) name(token string) (string, bool) {
	name, ok := (*t.names.Load())[sha256.Sum256([]byte(token))]
	return name, ok
}

// rereadEvery is how soon a token that was taken out of the file stops to work.
const rereadEvery = 2 * time.Second

// follow reads the file again when it changes, until ctx ends. A file that can't be read changes nothing.
func (t *Tokens) follow(ctx context.Context, log *slog.Logger) {
	every := time.NewTicker(rereadEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		before := *t.state.Load()
		now, err := os.Stat(t.path)
		if err == nil && os.SameFile(before, now) && now.ModTime().Equal(before.ModTime()) && now.Size() == before.Size() {
			continue
		}
		if err := t.read(); err != nil {
			log.Warn("tokens stay as they were", "error", err)
			continue
		}
		log.Info("read the file of tokens again", "tokens", len(*t.names.Load()))
	}
}
