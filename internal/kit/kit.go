package kit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/embedded/clickhouse"
	embeddedkafka "github.com/ledgerline-es/ledgerline/internal/embedded/kafka"
	"github.com/ledgerline-es/ledgerline/internal/process"
)

const (
	fetchTimeout = 15 * time.Minute // for what is not in the cache yet
	startTimeout = 2 * time.Minute
	stopTimeout  = 2 * time.Minute
)

// shared are the servers of this test binary. They are global since they outlive every test: only Main ends them.
var shared = newServers()

// Main is the body of a package's TestMain: it runs the tests, then stops all servers, and exits. roles are what the
// tests start their own binary as.
func Main(m *testing.M, roles ...process.Role) {
	process.Dispatch(append(roles, clickhouse.Role(), embeddedkafka.Role())...)
	code := m.Run()
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "kit:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Which names a server.
type Which int

// The servers.
const (
	UseKafka Which = iota
	UseRegistry
	UsePostgres
	UseClickHouse
	UseSecuredKafka // beside All: few tests need it
)

// All are the four servers that the platform stands on: kit.Start(t, kit.All()...).
func All() []Which { return []Which{UseKafka, UseRegistry, UsePostgres, UseClickHouse} }

// Start starts servers side by side, for tests that need several: it takes the time of the slowest.
func Start(t testing.TB, which ...Which) {
	t.Helper()
	var group sync.WaitGroup
	errs := make([]error, len(which))
	for i, w := range which {
		group.Go(func() { errs[i] = shared.of(w).up(t.Context()) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Await asks check again and again until it gives nil. After the patience given, the test fails with its last error.
func Await(t testing.TB, patience time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %v", patience, err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// Prefix is a prefix for topics, groups and subjects that no other test has, such as "t1a2b3c.".
func Prefix(t testing.TB) string {
	t.Helper()
	return "t" + random(3) + "."
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// servers are all of them, and the folder they live in.
type servers struct {
	all [5]*server

	mu     sync.Mutex
	folder *process.Folder
}

func newServers() *servers {
	s := &servers{}
	for which, starter := range map[Which]func() starter{
		UseKafka:      func() starter { return &kafka{} },
		UseRegistry:   func() starter { return &apicurio{} },
		UsePostgres:   func() starter { return &postgresServer{} },
		UseClickHouse: func() starter { return &clickhouseServer{} },

		UseSecuredKafka: func() starter { return &kafka{secured: &secured{}} },
	} {
		s.all[which] = &server{house: s, starter: starter()}
	}
	return s
}

func (s *servers) of(w Which) *server { return s.all[w] }

// room is the folder of one server.
func (s *servers) room(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder == nil {
		folder, err := process.TempFolder(ctx, "ledgerline-kit-*")
		if err != nil {
			return "", err
		}
		s.folder = folder
	}
	dir := filepath.Join(s.folder.Path, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// stop stops all servers side by side, then removes the folder.
func (s *servers) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var group sync.WaitGroup
	var errs [len(s.all) + 1]error
	for i, server := range s.all {
		group.Go(func() { errs[i] = server.stop(ctx) })
	}
	group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folder != nil {
		errs[len(s.all)] = s.folder.Remove(ctx)
	}
	return errors.Join(errs[:]...)
}
