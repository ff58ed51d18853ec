package write

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ledgerline-es/ledgerline/internal/deps"
	"github.com/ledgerline-es/ledgerline/internal/process"
	"github.com/ledgerline-es/ledgerline/schemas"
	"github.com/ledgerline-es/ledgerline/schemas/account"
	"github.com/ledgerline-es/ledgerline/schemas/ledgerline"
)

// program is the bank on Kafka Streams (streams/), compiled.
type program struct {
	p       *plant
	java    string
	classes string   // class path
	ids     []string // of schemas, as arguments
	warm    string   // prefix of commands that each start works off before it is measured
	starts  int
}

// program compiles it. Whatever is missing for it is said here, before anything is measured.
func (p *plant) program() *program {
	fatal := func(what string, err error) {
		p.b.Fatalf("%s: %v\nBENCH_STREAMS=off BENCH_STREAMS_LATENCY=off measures without Kafka Streams", what, err)
	}
	home, err := deps.Fetch(p.b.Context(), deps.KafkaStreams, os.Stderr)
	if err != nil {
		fatal("fetch Kafka Streams", err)
	}
	java, err := deps.Java()
	if err != nil {
		fatal("run Kafka Streams", err)
	}
	javac, err := deps.Javac()
	if err != nil {
		fatal("compile the bank for Kafka Streams", err)
	}
	classes, libs := p.b.TempDir(), filepath.Join(home, "libs", "*")
	cmd := exec.CommandContext(p.b.Context(), javac, "--release", "17", "-d", classes, "-cp", libs, "streams/Bank.java", "streams/Streams.java")
	if out, err := cmd.CombinedOutput(); err != nil {
		fatal(fmt.Sprintf("compile internal/bench/write/streams by %s:\n%s", javac, out), err)
	}
	return &program{p: p, java: java, classes: classes + string(os.PathListSeparator) + libs}
}

// prepare names the commands to warm up with, once Ledgerline has registered all schemas.
func (g *program) prepare(warm string) {
	g.warm = warm
	topics, codec := schemas.TopicsOf(warm, "account"), schemas.NewCodec(g.p.registry)
	commands := schemas.NewSerde(codec, topics.Commands, schemas.BackwardTransitive, account.Kind.Commands...)
	events := schemas.NewSerde(codec, topics.Events, schemas.FullTransitive, account.Kind.Events...)
	replies := schemas.NewSerde(codec, topics.Replies, schemas.ForwardTransitive, ledgerline.ReplyType)
	g.ids = []string{
		idOf(g.p, "open-account", commands, account.Command(&account.OpenAccount{})), idOf(g.p, "deposit-money", commands, account.Command(&account.DepositMoney{})),
		idOf(g.p, "account-opened", events, account.Event(&account.AccountOpened{})), idOf(g.p, "money-deposited", events, account.Event(&account.MoneyDeposited{})),
		idOf(g.p, "reply", replies, &ledgerline.Reply{}),
	}
}

// idOf is a schema's id in the registry, as an argument.
func idOf[T schemas.Record](p *plant, name string, serde *schemas.Serde[T], empty T) string {
	if err := serde.Register(p.b.Context()); err != nil {
		p.b.Fatal(err)
	}
	value, err := serde.Append(nil, empty)
	if err != nil {
		p.b.Fatal(err)
	}
	return fmt.Sprintf("%s=%d", name, binary.BigEndian.Uint32(value[1:]))
}

// run lets it work off a backlog.
func (g *program) run(prefix string, s streamsSetting) result {
	who := nameStreams
	if s.window {
		who = nameWindow
	}
	j := g.p.commandsOf(prefix, g.application(prefix))
	j.who, j.setting = who, s.String()
	return g.p.run(j, func() running { return g.start(prefix, s) })
}

// prove holds its rules and its window against Ledgerline's, with commands that are rejected, repeated, or under an id that was used.
func (g *program) prove() {
	odd := g.p.stageOdd()
	copied := g.p.copied(odd)
	r := g.p.ledgerline(1, odd, g.p.b.TempDir())
	setting := standardSetting
	setting.window = true
	other := g.run(copied, setting)
	if *g.p.audit(other, copied) != *g.p.audit(r, odd) {
		g.p.b.Fatalf("%s wrote other records than %s for commands that are rejected or repeated", other, r)
	}
}

// application is the one that all starts under a prefix share.
func (g *program) application(prefix string) string { return prefix + "streams" }

// window is that of Ledgerline's producer by default.
const window = time.Hour

// start starts it, and returns when it has warmed up.
func (g *program) start(prefix string, s streamsSetting) running {
	g.starts++
	var span time.Duration
	if s.window {
		span = window
	}
	args := append([]string{"-Dorg.slf4j.simpleLogger.defaultLogLevel=error"}, strings.Fields(cmp.Or(os.Getenv("BENCH_JVM"), "-Xms2g -Xmx2g -XX:+UseParallelGC"))...)
	args = append(args, "-cp", g.classes, "Streams", "brokers="+strings.Join(g.p.brokers, ","), "state="+g.p.b.TempDir(),
		"prefix="+prefix, "application="+g.application(prefix), "warm="+g.warm, fmt.Sprintf("warm-application=%s%d", g.application(g.warm), g.starts),
		fmt.Sprintf("threads=%d", s.threads), fmt.Sprintf("commit=%d", s.commit.Milliseconds()), fmt.Sprintf("linger=%d", s.linger.Milliseconds()),
		"store="+s.store, fmt.Sprintf("cache=%d", s.cache<<20), fmt.Sprintf("window=%d", span.Milliseconds()))
	warm := &lineSeen{line: []byte("warm\n"), seen: make(chan struct{})}
	proc, err := process.Start(g.p.b.Context(), process.Spec{Name: "Kafka Streams", Path: g.java, Args: append(args, g.ids...), Log: warm, StopTimeout: time.Minute})
	if err != nil {
		g.p.b.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		if err := proc.Stop(context.WithoutCancel(g.p.b.Context())); err != nil {
			g.p.b.Error(err)
		}
	})
	g.p.b.Cleanup(stop)
	dead := func() error {
		select {
		case <-proc.Done():
			return fmt.Errorf("%v ended: %w", s, cmp.Or(proc.Err(), fmt.Errorf("nobody knows why")))
		default:
			return nil
		}
	}
	select {
	case <-warm.seen:
	case <-proc.Done():
		g.p.b.Fatal(dead())
	}
	return running{stop: stop, dead: dead, cpu: func() float64 {
		used, err := cpuSecondsOf(proc.Pid())
		if err != nil {
			g.p.b.Fatalf("ask for the CPU time of Kafka Streams: %v (only Linux tells it; BENCH_STREAMS=off measures without)", err)
		}
		return used
	}}
}

// lineSeen waits for a line in a program's output.
type lineSeen struct {
	line []byte
	got  []byte
	seen chan struct{} // closed when it came
	done bool
}

func (l *lineSeen) Write(b []byte) (int, error) {
	if !l.done {
		l.got = append(l.got, b...)
		if bytes.Contains(l.got, l.line) {
			l.done, l.got = true, nil
			close(l.seen)
		}
	}
	return len(b), nil
}
