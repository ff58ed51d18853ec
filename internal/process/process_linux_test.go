package process

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own foreign program: with serverEnv set it is a server that says "up <pid>" and ends as told.
const serverEnv = "LEDGERLINE_TEST_SERVER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(serverEnv); mode != "" && (len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], rolePrefix)) {
		server(mode)
	}
	Dispatch(
		Role{Name: "parent", Run: parentRole},
		Role{Name: "worker", Run: workerRole},
		Role{Name: "stubborn", Run: stubbornRole},
	)
	os.Exit(m.Run())
}

func server(mode string) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("up", os.Getpid())
	switch mode {
	case "crash":
		fmt.Fprintln(os.Stderr, "FATAL: the disk is on fire")
		os.Exit(3)
	case "deaf":
		for range stop {
			fmt.Println("not listening")
		}
	}
	fmt.Println("got", <-stop)
	os.Exit(0)
}

func serverSpec(mode string) Spec {
	return Spec{Name: "test server", Path: "/proc/self/exe", Env: append(os.Environ(), serverEnv+"="+mode), StopTimeout: time.Minute}
}

// parentRole is a parent to be killed: it starts what args ask for, says the pids and folders, and waits for its end.
func parentRole(ctx context.Context, args []string) error {
	spec := serverSpec("good")
	if args[0] == "worker" {
		spec = Spec{Role: "worker"}
	}
	folder, err := TempFolder(ctx, "ledgerline-process-*")
	if err != nil {
		return err
	}
	own, err := os.MkdirTemp("", "ledgerline-process-*")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(own, "data"), []byte("x"), 0o600); err != nil {
		return err
	}
	spec.RemoveOnExit = []string{own}
	p, err := Start(ctx, spec)
	if err != nil {
		return err
	}
	fmt.Printf("ready %d %d %d %s %s\n", p.Pid(), p.cmd.Process.Pid, folder.keeper.Pid(), folder.Path, own)
	<-ctx.Done()
	return nil
}

func workerRole(ctx context.Context, _ []string) error {
	fmt.Println("working")
	<-ctx.Done()
	return ctx.Err()
}

func stubbornRole(ctx context.Context, _ []string) error {
	<-ctx.Done()
	select {}
}

// orphanage is a parent with its children, started from outside as a user's shell would.
type orphanage struct {
	cmd                   *exec.Cmd
	stdin                 io.WriteCloser
	server, guard, keeper int
	folders               []string
}

func startParent(t *testing.T, what string) *orphanage {
	t.Helper()
	cmd, err := roleCommand("parent", []string{what})
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	_, statusW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer statusW.Close()
	cmd.ExtraFiles = []*os.File{statusW}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.WriteString(stdin, `{"StopTimeout":60000000000}`+"\n"); err != nil {
		t.Fatal(err)
	}
	o := &orphanage{cmd: cmd, stdin: stdin, folders: make([]string, 2)}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), "ready %d %d %d %s %s", &o.server, &o.guard, &o.keeper, &o.folders[0], &o.folders[1]); n == 5 {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return o
		}
	}
	t.Fatalf("the parent ended before it was ready: %v", lines.Err())
	return nil
}

func TestParentKilled_NoProcessAndNoFolderRemain(t *testing.T) {
	for _, what := range []string{"program", "worker"} {
		t.Run(what, func(t *testing.T) {
			o := startParent(t, what)
			if err := o.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the server, the guard and the keeper are gone", func() bool {
				return gone(o.server) && gone(o.guard) && gone(o.keeper)
			})
			for _, f := range o.folders {
				eventually(t, f+" is gone", func() bool { return missing(f) })
			}
		})
	}
}

func TestParentAndServerKilled_TheFolderGoesToo(t *testing.T) {
	o := startParent(t, "program")
	// The parent stands still, so it is sure not to know of the server's end when its own comes.
	for _, kill := range []struct {
		pid    int
		signal syscall.Signal
	}{{o.cmd.Process.Pid, syscall.SIGSTOP}, {o.server, syscall.SIGKILL}} {
		if err := syscall.Kill(kill.pid, kill.signal); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the server is gone", func() bool { return gone(o.server) })
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, f := range o.folders {
		eventually(t, f+" is gone", func() bool { return missing(f) })
	}
	eventually(t, "the guards are gone", func() bool { return gone(o.guard) && gone(o.keeper) })
}

func TestGuardKilled_TheServerEndsToo(t *testing.T) {
	p, err := Start(t.Context(), serverSpec("good"))
	if err != nil {
		t.Fatal(err)
	}
	guard := p.cmd.Process.Pid
	if guard == p.Pid() {
		t.Fatalf("Pid %d is the guard's", guard)
	}
	if err := syscall.Kill(guard, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	eventually(t, "the server is gone", func() bool { return gone(p.Pid()) })
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), "guard: signal: killed") {
		t.Errorf("Err() = %v, want the guard's death", err)
	}
}

func TestStop_AsksThenRemovesThenIsQuiet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o750); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	spec := serverSpec("good")
	spec.StopSignal, spec.Log, spec.RemoveOnExit = syscall.SIGUSR1, &log, []string{dir}
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is up", func() bool { return strings.Contains(log.String(), "up "+strconv.Itoa(p.Pid())) })
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	if err := p.Err(); err != nil {
		t.Errorf("Err() = %v after a stop", err)
	}
	if !strings.Contains(log.String(), "got user defined signal 1") {
		t.Errorf("the log lacks the stop signal: %q", log.String())
	}
	if !missing(dir) {
		t.Errorf("%s is still there", dir)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

func TestCrash_IsReportedWithItsLastLines(t *testing.T) {
	dir := t.TempDir()
	spec := serverSpec("crash")
	spec.RemoveOnExit = []string{dir}
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	waitDone(t, p)
	for _, want := range []string{"test server", "exit status 3", "the disk is on fire"} {
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Err() = %v, want it to hold %q", err, want)
		}
	}
	if missing(dir) {
		t.Error("a crash removed the folder: nothing is left to restart on or to look at")
	}
}

func TestDeafServer_IsKilledAndReported(t *testing.T) {
	var log lockedBuffer
	spec := serverSpec("deaf")
	spec.StopTimeout, spec.Log = 200*time.Millisecond, &log
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is up", func() bool { return strings.Contains(log.String(), "up ") })
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "did not stop within 200ms") {
		t.Errorf("Stop() = %v, want the timeout", err)
	}
	if !gone(p.Pid()) {
		t.Error("the server is still there")
	}
}

func TestKill_EndsTheServerAndKeepsItsFolder(t *testing.T) {
	for name, spec := range map[string]Spec{"program": serverSpec("good"), "role": {Role: "worker"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			spec.RemoveOnExit = []string{dir}
			p, err := Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if !gone(p.Pid()) {
				t.Error("the server is still there")
			}
			if missing(dir) {
				t.Error("the folder is gone")
			}
			if err := p.Err(); err != nil {
				t.Errorf("Err() = %v after a kill that was asked for", err)
			}
		})
	}
}

func TestRole_StopsByContext(t *testing.T) {
	var log lockedBuffer
	p, err := Start(t.Context(), Spec{Role: "worker", Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it works", func() bool { return strings.Contains(log.String(), "working") })
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRole_ThatDoesNotReturnIsEnded(t *testing.T) {
	p, err := Start(t.Context(), Spec{Role: "stubborn", StopTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "did not stop within 200ms") {
		t.Errorf("Stop() = %v, want the timeout", err)
	}
}

func TestStart_SaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"no program":   {Spec{Name: "ghost", Path: "/nowhere/ghost"}, "start ghost: fork/exec /nowhere/ghost: no such file"},
		"no role":      {Spec{Role: "nobody"}, `this binary has no role "nobody"`},
		"neither":      {Spec{Name: "x"}, "exactly one of Role and Path"},
		"no directory": {Spec{Path: "/bin/true", Dir: "/nowhere"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Start(t.Context(), c.spec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start() = %v, want %q", err, c.want)
			}
		})
	}
}

func TestUserNamespace_RootIsSomebodyElseAndDiesWithItsGuard(t *testing.T) {
	for _, no := range []bool{false, true} {
		t.Run(fmt.Sprintf("namespaces forbidden %v", no), func(t *testing.T) {
			var log lockedBuffer
			dir := filepath.Join(t.TempDir(), "private")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			p, err := Start(t.Context(), Spec{
				Path: "/bin/sh", Args: []string{"-c", "touch made; echo user $(id -u); exec cat"}, Dir: dir,
				Log: &log, UserNamespace: true, noNamespace: no, Env: []string{"PATH=/usr/bin:/bin"},
			})
			if err != nil {
				t.Fatal(err)
			}
			// Its standard input is empty, so cat ends at once; what matters here is who it was and what it could write.
			waitDone(t, p)
			want := os.Geteuid()
			if want == 0 {
				want = somebody()
			}
			if !strings.Contains(log.String(), fmt.Sprintf("user %d\n", want)) {
				t.Errorf("as user %d the program says: %s", os.Geteuid(), log.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
				t.Error(err)
			}

			spec := serverSpec("good")
			spec.UserNamespace, spec.noNamespace = true, no
			if p, err = Start(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitDone(t, p)
			eventually(t, "the server is gone", func() bool { return gone(p.Pid()) })
		})
	}
}

func TestRun_WaitsForSuccess(t *testing.T) {
	if err := Run(t.Context(), Spec{Path: "/bin/true"}); err != nil {
		t.Error(err)
	}
	if err := Run(t.Context(), serverSpec("crash")); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Run of a crash = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Run(ctx, serverSpec("good")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run past its time = %v", err)
	}
}

func TestHold_TheLockLastsAsLongAsTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	hold, err := LockFile(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := serverSpec("good")
	spec.Hold = hold
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan struct{})
	locked := make(chan error, 1)
	go func() {
		again, err := LockFile(t.Context(), path, func() { close(waits) })
		if err == nil {
			err = again.Close()
		}
		locked <- err
	}()
	select {
	case <-waits:
	case <-locked:
		t.Fatal("the lock is free although the server runs")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Error(err)
	}

	if hold, err = LockFile(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := LockFile(ctx, path, nil); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("LockFile of a locked file = %v", err)
	}
}

func TestTail_KeepsTheLastLines(t *testing.T) {
	log := newTail(failingWriter{})
	for i := range 100 {
		fmt.Fprintf(log, "line %d\n", i)
	}
	fmt.Fprint(log, strings.Repeat("x", 3*tailLineSize))
	lines := strings.Split(log.String(), "\n")
	if len(lines) != tailLines+1 || lines[0] != "line 60" || len(lines[tailLines]) != tailLineSize {
		t.Errorf("%d lines, from %q", len(lines), lines[0])
	}
}

func TestFreePort_CanBeListenedOnAlsoBesideForks(t *testing.T) {
	stop := make(chan struct{})
	var forks sync.WaitGroup
	for range 4 {
		forks.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	for range 500 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if err := PortFree(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
			t.Errorf("a free port is not free: %v", err)
		}
	}
	close(stop)
	forks.Wait()
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("full") }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func waitDone(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("the process has not ended within a minute")
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// gone also counts a zombie as gone: it waits for whatever is process 1 here, and holds nothing any more.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(state, "Z")
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
