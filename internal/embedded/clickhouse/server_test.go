package clickhouse

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/process"
)

func TestServer_DataOutlivesItsStop(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, Config{Dir: dir})
	post(t, s, "", "CREATE DATABASE d")
	post(t, s, "", "CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10")
	const insert = "insert_deduplication_token=a&async_insert=0"
	post(t, s, insert, "INSERT INTO d.t VALUES (1)")
	stopServer(t, s)
	if err := s.Err(); err != nil {
		t.Errorf("a wanted end is no error: %v", err)
	}
	s = startServer(t, Config{Dir: dir})
	post(t, s, insert, "INSERT INTO d.t VALUES (1)")
	if got := post(t, s, "", "SELECT count(), sum(n) FROM d.t"); got != "1\t1\n" {
		t.Errorf("after the restart: %q", got)
	}
}

func TestServer_StopEndsWhatRuns(t *testing.T) {
	s := startServer(t, Config{Dir: t.TempDir(), StopTimeout: 8 * time.Second})
	code := make(chan string, 1)
	r := newRequest(t, s, "POST", "", "SELECT count() FROM numbers_mt(1000000000000) WHERE cityHash64(number) = 1")
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			code <- err.Error()
			return
		}
		resp.Body.Close()
		code <- resp.Header.Get("X-ClickHouse-Exception-Code")
	}()
	eventually(t, "the query runs", func() bool {
		return post(t, s, "", "SELECT count() FROM system.processes WHERE query LIKE '%numbers_mt(10000000000' || '00)%'") == "1\n"
	})
	stopServer(t, s)
	if got := <-code; got != "236" {
		t.Errorf("the query that ran got %s", got)
	}
}

func TestServer_StartSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	noLibrary := filepath.Join(t.TempDir(), "libchdb.so")
	if err := os.WriteFile(noLibrary, []byte("no library"), 0o600); err != nil {
		t.Fatal(err)
	}
	inUse := t.TempDir()
	startServer(t, Config{Dir: inUse})
	for _, c := range []struct {
		name, want string
		cfg        Config
	}{
		{"no folder", "Dir is empty", Config{}},
		{"no address", `Listen "8123"`, Config{Dir: t.TempDir(), Listen: "8123"}},
		{"no places", "Queries -1", Config{Dir: t.TempDir(), Queries: -1}},
		{"port taken", taken.Addr().String() + ": bind: address already in use", Config{Dir: t.TempDir(), Listen: taken.Addr().String()}},
		{"folder in use", inUse + ": another process has used this folder", Config{Dir: inUse, StopTimeout: 100 * time.Millisecond}},
		{"not a library", "load " + noLibrary, Config{Dir: t.TempDir(), Library: noLibrary}},
	} {
		s, err := Start(t.Context(), c.cfg)
		if err == nil {
			stopServer(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Killed again and again in the middle of inserts: each acknowledged block is there whole, and one that was not
// acknowledged, sent again with its token, is there once.
func TestServer_KilledDuringInserts_AcknowledgedRowsStay(t *testing.T) {
	const (
		kills = 4
		block = 50_000
	)
	dir := t.TempDir()
	var acknowledged atomic.Int64 // blocks 0 … n-1
	for kill := range kills {
		s, err := Start(t.Context(), Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		post(t, s, "", "CREATE TABLE IF NOT EXISTS default.t (n UInt64, s String) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 1000")
		before := acknowledged.Load()
		var sender sync.WaitGroup
		sender.Go(func() {
			for {
				k := acknowledged.Load()
				if insertBlock(s, k, block) != nil {
					return
				}
				acknowledged.Add(1)
			}
		})
		eventually(t, "blocks are acknowledged", func() bool { return acknowledged.Load() >= before+2 })
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		sender.Wait()

		s, err = Start(t.Context(), Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		n := acknowledged.Load()
		count, err := strconv.ParseInt(strings.TrimSpace(post(t, s, "", "SELECT count() FROM default.t")), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if count != n*block && count != (n+1)*block {
			t.Fatalf("kill %d: %d rows, but %d blocks of %d were acknowledged", kill, count, n, block)
		}
		if err := insertBlock(s, n, block); err != nil { // the one in doubt
			t.Fatal(err)
		}
		acknowledged.Add(1)
		want := fmt.Sprintf("%d\t%d\t%d\n", (n+1)*block, (n+1)*block, (n+1)*block)
		if got := post(t, s, "", "SELECT count(), uniqExact(n), max(n) + 1 FROM default.t"); got != want {
			t.Fatalf("kill %d: %q, want %q", kill, got, want)
		}
		stopServer(t, s)
	}
}

func insertBlock(s *Server, k, block int64) error {
	var rows strings.Builder
	for n := k * block; n < (k+1)*block; n++ {
		fmt.Fprintf(&rows, "%d\trow %d\n", n, n)
	}
	resp, err := http.Post(fmt.Sprintf("%s/?async_insert=0&insert_deduplication_token=%d&%s", s.URL(), k, query("INSERT INTO default.t FORMAT TSV")), "text/plain", strings.NewReader(rows.String()))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// ownerRole is a parent that is killed: it starts the engine on the folder it is given and says where it is.
func ownerRole(ctx context.Context, args []string) error {
	s, err := Start(ctx, Config{Dir: args[0]})
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[1]+".new", fmt.Appendf(nil, "%d %s", s.Pid(), s.URL()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(args[1]+".new", args[1]); err != nil {
		return err
	}
	<-s.Done()
	return s.Err()
}

func TestServer_EndsWithItsParent(t *testing.T) {
	dir, said := t.TempDir(), filepath.Join(t.TempDir(), "said")
	owner, err := process.Start(t.Context(), process.Spec{Role: "owner", Args: []string{dir, said}})
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	var url string
	eventually(t, "the owner has started the engine", func() bool {
		select {
		case <-owner.Done():
			t.Fatal(owner.Err())
		default:
		}
		text, err := os.ReadFile(said)
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(text), &pid, &url)
		return err == nil
	})
	resp, err := http.Post(url, "text/plain", strings.NewReader("CREATE TABLE default.t ENGINE = MergeTree ORDER BY n AS SELECT number AS n FROM numbers(10)"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if err := owner.Kill(); err != nil {
		t.Fatal(err)
	}
	// Start waits for the predecessor to let go of the folder.
	s := startServer(t, Config{Dir: dir})
	if got := post(t, s, "", "SELECT count() FROM default.t"); got != "10\n" {
		t.Errorf("got %q", got)
	}
	eventually(t, "the orphan is gone", func() bool { return syscall.Kill(pid, 0) != nil })
}
