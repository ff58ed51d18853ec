package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start and how it is to end. Exactly one of Role and Path is set.
type Spec struct {
	Name string // stands in errors; default: the role, or the program's base name
	Role string // our own binary, started again in this role
	Path string // or a foreign program, run under the guard
	Args []string
	Env  []string  // the whole environment; nil means ours
	Dir  string    // working folder; default: ours
	Log  io.Writer // receives standard output and error; nil keeps only the last lines, for Err

	StopSignal   syscall.Signal // asks a foreign program to stop; default SIGTERM. A role's context is cancelled instead
	StopTimeout  time.Duration  // how long it may take before SIGKILL; default 30 s
	OrphanSignal syscall.Signal // what a foreign program gets when its guard was killed; default SIGKILL (Linux only)

	// UserNamespace runs a foreign program as nobody of a new user namespace when we are root, for those that refuse root,
	// or a user without a name, for those that refuse such; its files belong to us outside. Where namespaces are not
	// permitted, as in many containers, root's program runs as the true nobody, who may pass by file permissions.
	UserNamespace bool

	// Hold is a locked file (LockFile) that the child takes over: the lock lasts until the child and all it forked have
	// ended, whoever else dies. Start closes ours, also when it fails.
	Hold *os.File

	noNamespace bool // for tests: as if namespaces were not permitted

	// RemoveOnExit are folders removed once all has ended, provided that the end was wanted: by Stop, or because we are
	// gone. After a crash or Kill they stay, for a restart or for whoever looks for the cause.
	RemoveOnExit []string
}

const (
	defaultStopTimeout = 30 * time.Second
	sickGrace          = 10 * time.Second
)

func (s Spec) withDefaults() (Spec, error) {
	if (s.Role == "") == (s.Path == "") {
		return s, fmt.Errorf("start %q: exactly one of Role and Path must be set, got Role %q and Path %q", s.Name, s.Role, s.Path)
	}
	if s.Name == "" {
		s.Name = s.Role
		if s.Path != "" {
			s.Name = filepath.Base(s.Path)
		}
	}
	if s.StopSignal == 0 {
		s.StopSignal = syscall.SIGTERM
	}
	if s.OrphanSignal == 0 {
		s.OrphanSignal = syscall.SIGKILL
	}
	if s.StopTimeout <= 0 {
		s.StopTimeout = defaultStopTimeout
	}
	return s, nil
}

// Process is a started child.
type Process struct {
	spec    Spec
	cmd     *exec.Cmd
	control *os.File // write end of the child's standard input; the child stops when it closes
	log     *tail
	logEnd  chan struct{} // closed when nobody holds the log pipe any more
	done    chan struct{}

	mu       sync.Mutex
	pid      int
	stopping bool // a clean end was asked for …
	killed   bool // … or a hard one
	success  bool // a foreign program ended by itself with exit status 0
	err      error
}

// Start starts the child and returns once it runs: for a foreign program, once the guard has started it. Whether it
// answers is the caller's to find out. ctx bounds the starting alone.
func Start(ctx context.Context, s Spec) (*Process, error) {
	if s.Hold != nil {
		defer s.Hold.Close()
	}
	s, err := s.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Process{spec: s, log: newTail(s.Log), logEnd: make(chan struct{}), done: make(chan struct{})}
	if err := p.start(ctx); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// Run starts a foreign program and waits for its end, which must be exit status 0. When ctx ends first the program is
// killed.
func Run(ctx context.Context, s Spec) error {
	p, err := Start(ctx, s)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s: %w", p.spec.Name, ctx.Err()), p.Kill())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.success {
		return nil
	}
	return p.err
}

func (p *Process) start(ctx context.Context) (err error) {
	var files []*os.File
	closeAll := func() {
		for _, f := range files {
			f.Close()
		}
	}
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w
	}
	stdin, control := pipe()
	logR, logW := pipe()
	statusR, statusW := pipe()
	if err != nil {
		closeAll()
		return err
	}

	role, args := p.spec.Role, p.spec.Args
	if role == "" {
		role, args = guardRole, []string{p.spec.Name} // its orders come by the pipe: they are no secret of ps
	}
	if p.cmd, err = roleCommand(role, args); err != nil {
		closeAll()
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, logW, logW
	p.cmd.ExtraFiles = []*os.File{statusW}
	if p.spec.Hold != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, p.spec.Hold)
	}
	if p.spec.Role != "" {
		p.cmd.Dir, p.cmd.Env = p.spec.Dir, p.spec.Env
	} else {
		// A race-enabled binary dawdles for a second at its exit; a guard has nothing to wait for.
		p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	}
	if err := p.cmd.Start(); err != nil {
		closeAll()
		return err
	}
	p.control, p.pid = control, p.cmd.Process.Pid
	for _, f := range []*os.File{stdin, logW, statusW} {
		f.Close()
	}
	go func() {
		defer close(p.logEnd)
		_, _ = io.Copy(p.log, logR) // ends with the last holder of the pipe, or when wait closes it
	}()

	status := bufio.NewReader(statusR)
	started := make(chan report, 1)
	go p.wait(status, statusR, logR, started)
	if err := json.NewEncoder(control).Encode(p.spec.orders()); err != nil {
		_ = p.Kill()
		return fmt.Errorf("hand over the orders: %w", err)
	}
	select {
	case r := <-started:
		return p.startError(r)
	case <-p.done:
		select {
		case r := <-started:
			return p.startError(r)
		default:
			return p.Err()
		}
	case <-ctx.Done():
		_ = p.Kill()
		return ctx.Err()
	}
}

func (p *Process) startError(r report) error {
	if r.Error == "" {
		return nil
	}
	<-p.done
	return errors.New(r.Error)
}

// wait follows the child to its end, and past it to the end of everything it forked.
func (p *Process) wait(status *bufio.Reader, statusR, logR *os.File, started chan<- report) {
	defer close(p.done)
	var last report
	reports := json.NewDecoder(status)
	for {
		var r report
		if reports.Decode(&r) != nil {
			break
		}
		if r.Started {
			if r.Pid != 0 {
				p.mu.Lock()
				p.pid = r.Pid
				p.mu.Unlock()
			}
			started <- r // sent once, and there is room for one
		}
		if r.Ended {
			p.mu.Lock()
			p.order(orderKeep)
			p.mu.Unlock()
		}
		last = r
	}
	statusR.Close()
	waitErr := p.cmd.Wait()

	// A killed guard's program gets its signal now; a killed postmaster's backends notice within moments.
	patience := time.NewTimer(p.spec.StopTimeout)
	defer patience.Stop()
	var lingering bool
	select {
	case <-p.logEnd:
	case <-patience.C:
		lingering = true
	}
	logR.Close()
	<-p.logEnd

	p.mu.Lock()
	defer p.mu.Unlock()
	p.control.Close()
	p.success = last.Success && !lingering
	p.err = p.outcome(last, waitErr, lingering)
	if p.stopping {
		// The child may have been killed, or have ended by itself, before it was told to clean up.
		p.err = errors.Join(p.err, removeAll(p.spec.RemoveOnExit))
	}
}

// outcome words the end: nil for one that was asked for and kept in time.
func (p *Process) outcome(last report, waitErr error, lingering bool) error {
	var how string
	switch {
	case lingering:
		how = fmt.Sprintf("has ended, but a process it started still holds its log after %s", p.spec.StopTimeout)
	case last.Ended && last.Forced:
		how = fmt.Sprintf("did not stop within %s and was killed", p.spec.StopTimeout)
	case last.Ended && last.Error != "":
		how = last.Error
	case p.stopping || p.killed:
		return nil
	case last.Ended:
		how = "ended unasked: " + last.State
	case p.spec.Path != "":
		how = "ended with its guard: " + stateOf(p.cmd, waitErr)
	default:
		how = "ended unasked: " + stateOf(p.cmd, waitErr)
	}
	if lines := p.log.String(); lines != "" {
		how += "; its last lines:\n" + lines
	}
	return fmt.Errorf("%s (pid %d) %s", p.spec.Name, p.pid, how)
}

func stateOf(cmd *exec.Cmd, waitErr error) string {
	if cmd.ProcessState != nil {
		return cmd.ProcessState.String()
	}
	return fmt.Sprint(waitErr)
}

// Pid is the process id of the real server, not of its guard.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Done is closed when the child and everything it forked has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil while the child runs and after an end that was asked for; else it says how it ended, with the last lines of
// its log.
func (p *Process) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// LogTail is the last lines of the child's output.
func (p *Process) LogTail() string { return p.log.String() }

// Stop asks the child to stop and waits until all of it has ended, killing it after Spec.StopTimeout, which is an error.
// When ctx ends first the child is killed and ctx's error returned. Stopping what has ended is no error.
func (p *Process) Stop(ctx context.Context) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	p.mu.Lock()
	p.stopping = true
	p.order(orderStop)
	p.mu.Unlock()
	// The child keeps the timeout itself. One that is too sick to do so is ended from here; its guard's death ends a program.
	sick := time.NewTimer(p.spec.StopTimeout + sickGrace)
	defer sick.Stop()
	select {
	case <-p.done:
		return p.Err()
	case <-sick.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.Join(fmt.Errorf("stop %s: no answer within %s, killed", p.spec.Name, p.spec.StopTimeout+sickGrace), p.Err())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop %s: %w", p.spec.Name, ctx.Err()), p.Kill())
	}
}

// Kill sends SIGKILL to the real server, as a crash would end it, and waits until all of it is gone. Folders stay.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.killed = true
	if p.spec.Path != "" {
		p.order(orderKill)
	}
	p.mu.Unlock()
	if p.spec.Role != "" {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill %s: %w", p.spec.Name, err)
		}
	}
	<-p.done
	return nil
}

// order writes one line to the child; p.mu is held. An error means that the child is ending, as every order wants it to.
func (p *Process) order(line string) { _, _ = p.control.WriteString(line + "\n") }

func (s Spec) orders() orders {
	o := orders{StopTimeout: s.StopTimeout, Remove: s.RemoveOnExit, Hold: s.Hold != nil}
	if s.Path == "" {
		return o
	}
	o.Name, o.Path, o.Args, o.Env, o.Dir = s.Name, s.Path, s.Args, s.Env, s.Dir
	o.StopSignal, o.OrphanSignal = s.StopSignal, s.OrphanSignal
	o.UserNamespace, o.NoNamespace = s.UserNamespace, s.noNamespace
	return o
}

// roleCommand is our own binary in a role. /proc/self/exe holds on to the file that runs, also when a build has replaced it.
func roleCommand(role string, args []string) (*exec.Cmd, error) {
	path, err := executable()
	if err != nil {
		return nil, fmt.Errorf("find our own binary: %w", err)
	}
	cmd := exec.Command(path, append([]string{rolePrefix + role}, args...)...)
	cmd.Args[0] = strings.TrimSuffix(filepath.Base(os.Args[0]), " (deleted)")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}
