package kit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/ledgerline-es/ledgerline/internal/kit"
)

// A test binary that a test has started marks itself, and so everything it starts, by a token in its environment.
const tokenEnv = "LEDGERLINE_KIT_TEST_TOKEN"

func TestMain(m *testing.M) { kit.Main(m) }

func TestAllFour_AreUsed(t *testing.T) {
	kit.Start(t, kit.All()...)
	useKafka(t)
	useRegistry(t)
	usePostgres(t)
	useClickHouse(t)
	if os.Getenv(tokenEnv) != "" {
		fmt.Println("used all four")
		_, _ = io.ReadAll(os.Stdin) // until the parent lets us go, or kills us
	}
}

func useKafka(t *testing.T) {
	k := kit.Kafka(t)
	topic := kit.Prefix(t) + "things"
	cl := k.Client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("hello")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	fetches := cl.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if got := fetches.Records(); len(got) != 1 || string(got[0].Value) != "hello" {
		t.Errorf("consumed %d records", len(got))
	}
}

func useRegistry(t *testing.T) {
	cl := kit.Registry(t).Client(t)
	subject := kit.Prefix(t) + "things-x"
	made, err := cl.CreateSchema(t.Context(), subject, sr.Schema{Schema: `{"type":"record","name":"x","fields":[]}`})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cl.SchemaByID(t.Context(), made.ID); err != nil || !strings.Contains(got.Schema, `"x"`) {
		t.Errorf("schema %d is %q, %v", made.ID, got.Schema, err)
	}
}

func usePostgres(t *testing.T) {
	url := kit.Postgres(t).URL()
	if sqlPostgres(t, url, "SELECT 6 * 7") != "42" {
		t.Error("PostgreSQL cannot multiply")
	}
	if url == kit.Postgres(t).URL() {
		t.Error("the database is not fresh")
	}
}

func sqlPostgres(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) { return string(row.RawValues()[0]), nil })
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return strings.Join(values, ",")
}

func useClickHouse(t *testing.T) {
	c := kit.ClickHouse(t)
	db := c.Database(t)
	sqlClickHouse(t, c, "CREATE TABLE "+db+".t (n Int64) ENGINE MergeTree ORDER BY n")
	sqlClickHouse(t, c, "INSERT INTO "+db+".t VALUES (40), (2)")
	if got := sqlClickHouse(t, c, "SELECT sum(n) FROM "+db+".t"); got != "42" {
		t.Errorf("sum is %q", got)
	}
}

func sqlClickHouse(t *testing.T, c *kit.ClickHouseServer, sql string) string {
	t.Helper()
	res, err := http.Post(c.URL(), "", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", sql, res.Status, body, err)
	}
	return strings.TrimSpace(string(body))
}

func TestKill9AndRestart_TheDataStay(t *testing.T) {
	kit.Start(t, kit.UseKafka, kit.UsePostgres, kit.UseClickHouse)
	t.Run("kafka", func(t *testing.T) {
		k := kit.Kafka(t)
		topic := kit.Prefix(t) + "kept"
		cl := k.Client(t)
		if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			k.Kill9()
			start := time.Now()
			k.Restart(t)
			t.Logf("back after %s", time.Since(start))
		}
		if out := k.Tool(t, "kafka-get-offsets", "--topic", topic); strings.TrimSpace(out) != topic+":0:2" {
			t.Errorf("kafka-get-offsets says %q", out)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		p := kit.Postgres(t)
		url := p.URL()
		sqlPostgres(t, url, "CREATE TABLE kept AS SELECT 1 AS n")
		p.Kill9()
		p.Restart(t)
		if got := sqlPostgres(t, url, "SELECT sum(n) FROM kept"); got != "1" {
			t.Errorf("sum is %s", got)
		}
	})
	t.Run("clickhouse", func(t *testing.T) {
		c := kit.ClickHouse(t)
		db := c.Database(t)
		sqlClickHouse(t, c, "CREATE TABLE "+db+".t (n Int64) ENGINE MergeTree ORDER BY n")
		sqlClickHouse(t, c, "INSERT INTO "+db+".t VALUES (1)")
		c.Kill9()
		c.Restart(t)
		if got := sqlClickHouse(t, c, "SELECT sum(n) FROM "+db+".t"); got != "1" {
			t.Errorf("sum is %s", got)
		}
	})
}

func TestFakes_AnswerAtOnce(t *testing.T) {
	k := kit.FakeKafka(t)
	if err := k.Client(t).Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := kit.FakeRegistry(t).Subjects(t.Context()); err != nil {
		t.Error(err)
	}
}

// child is a test binary of our own that uses all four servers and then waits to be let go.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	token string
	temp  string
}

func startChild(t *testing.T) *child {
	t.Helper()
	c := &child{temp: t.TempDir(), token: tokenEnv + "=" + kit.Prefix(t)}
	c.cmd = exec.Command("/proc/self/exe", "-test.run=^TestAllFour_AreUsed$", "-test.v")
	c.cmd.Env = append(os.Environ(), c.token, "TMPDIR="+c.temp)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if lines.Text() == "used all four" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return c
		}
	}
	t.Fatalf("the child could not use all four:\n%s", &said)
	return nil
}

// remains are the processes that carry the child's token, and what lies in its temporary folder.
func (c *child) remains(t *testing.T) (left []string) {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		env, err := os.ReadFile(p)
		if err == nil && slices.Contains(strings.Split(string(env), "\x00"), c.token) {
			name, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "comm"))
			left = append(left, fmt.Sprintf("process %s (%s)", filepath.Base(filepath.Dir(p)), strings.TrimSpace(string(name))))
		}
	}
	files, err := os.ReadDir(c.temp)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		left = append(left, "folder "+f.Name())
	}
	return left
}

func TestAllFour_LeaveNothing(t *testing.T) {
	for _, end := range []string{"in good order", "killed"} {
		t.Run(end, func(t *testing.T) {
			c := startChild(t)
			if left := c.remains(t); len(left) < 10 {
				t.Fatalf("while it runs there are only %s: this test would not see what remains", strings.Join(left, ", "))
			}
			if end == "killed" {
				if err := c.cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.stdin.Close()
			err := c.cmd.Wait()
			if end != "killed" && err != nil {
				t.Errorf("the child: %v", err)
			}
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			deadline := time.After(time.Minute)
			for left := c.remains(t); len(left) > 0; left = c.remains(t) {
				if end != "killed" {
					t.Fatalf("the child has ended and left %s", strings.Join(left, ", "))
				}
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("a minute after the kill there are still %s", strings.Join(left, ", "))
				}
			}
		})
	}
}
