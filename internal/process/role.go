package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// Role is what our own binary does when it was started as a child.
type Role struct {
	Name string
	// Run does it. ctx is cancelled when the parent asks, when the parent is gone, and on SIGTERM or SIGINT. When Run
	// has not returned within the parent's Spec.StopTimeout after that, the process ends hard.
	Run func(ctx context.Context, args []string) error
}

const (
	rolePrefix = "role:" // the first argument of a child, with its role's name behind
	guardRole  = "guard"

	orderStop = "stop"
	orderKill = "kill" // guards only
	orderKeep = "keep" // the answer to an end that was not asked for: the folders stay

	statusFd = 3
	holdFd   = 4
)

// orders is the first line on a child's standard input; stop and kill may follow, one a line.
type orders struct {
	Name          string
	Path          string
	Args, Env     []string
	Dir           string
	StopSignal    syscall.Signal
	StopTimeout   time.Duration
	OrphanSignal  syscall.Signal
	UserNamespace bool
	NoNamespace   bool // as if namespaces were not permitted
	Remove        []string
	Hold          bool // a lock came along as holdFd
}

// report is a line on a child's status pipe.
type report struct {
	Started bool   // the server runs, as Pid
	Pid     int    `json:",omitempty"`
	Ended   bool   // the server has ended, and what was to be removed is removed
	State   string `json:",omitempty"` // in words: "exit status 1", "signal: killed"
	Success bool   `json:",omitempty"` // exit status 0
	Forced  bool   `json:",omitempty"` // it did not stop in time
	Error   string `json:",omitempty"`
}

// Dispatch is the first statement of main and of TestMain. If this process was started in a role, Dispatch runs it and
// exits; else it returns at once. The role "guard" is built in.
func Dispatch(roles ...Role) {
	if len(os.Args) < 2 {
		return
	}
	name, ok := strings.CutPrefix(os.Args[1], rolePrefix)
	if !ok {
		return
	}
	c := newChild()
	if name == guardRole {
		os.Exit(c.guard())
	}
	for _, r := range roles {
		if r.Name == name {
			os.Exit(c.role(r, os.Args[2:]))
		}
	}
	c.report(report{Started: true, Error: fmt.Sprintf("this binary has no role %q", name)})
	os.Exit(2)
}

// child is a process in a role, as seen from inside.
type child struct {
	in     *bufio.Reader
	status *os.File

	ctx    context.Context // cancelled when the end is wanted
	cancel context.CancelCauseFunc
	kill   chan struct{} // closed when the parent wants a hard end
	keep   chan struct{} // closed when the parent knows of an end that it had not asked for
}

var (
	errParentAsked = errors.New("the parent asked to stop")
	errParentGone  = errors.New("the parent is gone")
)

func newChild() *child {
	c := &child{in: bufio.NewReader(os.Stdin), status: os.NewFile(statusFd, "status"), kill: make(chan struct{}), keep: make(chan struct{})}
	syscall.CloseOnExec(statusFd) // else our own children would keep our parent waiting for our end
	c.ctx, c.cancel = context.WithCancelCause(context.Background())

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		for s := range signals {
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				c.cancel(fmt.Errorf("signal: %v", s))
			}
		}
	}()
	return c
}

// orders reads what to do; false means that the parent was gone before it could say.
func (c *child) orders() (orders, bool) {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return orders{}, false
	}
	var o orders
	if err := json.Unmarshal(line, &o); err != nil {
		c.report(report{Started: true, Error: fmt.Sprintf("read the orders: %v", err)})
		return orders{}, false
	}
	go c.listen()
	return o, true
}

// listen follows the parent's pipe to its end.
func (c *child) listen() {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.cancel(errParentGone)
			return
		}
		switch strings.TrimSpace(line) {
		case orderStop:
			c.cancel(errParentAsked)
		case orderKill:
			closeOnce(c.kill)
		case orderKeep:
			closeOnce(c.keep)
		}
	}
}

// closeOnce closes a channel that one goroutine alone closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// report tells the parent. When that fails nobody is left to be told.
func (c *child) report(r report) {
	_ = json.NewEncoder(c.status).Encode(r) //nolint:errchkjson // see above
}

// role runs a role of our own to its end and returns the exit code.
func (c *child) role(r Role, args []string) int {
	o, ok := c.orders()
	if !ok {
		return 1
	}
	c.report(report{Started: true, Pid: os.Getpid()})
	finished := make(chan struct{})
	go func() {
		<-c.ctx.Done()
		select {
		case <-finished:
		case <-time.After(o.StopTimeout):
			c.finish(o, report{Ended: true, Forced: true})
			os.Exit(1)
		}
	}()
	err := r.Run(c.ctx, args)
	close(finished)

	end := report{Ended: true, State: "returned"}
	if err != nil && (c.ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		end.Error = fmt.Sprintf("role %s: %v", r.Name, err)
		fmt.Fprintln(os.Stderr, end.Error)
	}
	c.finish(o, end)
	if end.Error != "" {
		return 1
	}
	return 0
}

// finish removes the folders if the end was wanted, and reports it. Was it not, then the parent may be dying of the same
// cause: it is told, and the folders stay only if it is there to answer.
func (c *child) finish(o orders, end report) {
	if c.ctx.Err() == nil {
		c.report(end)
		select {
		case <-c.keep:
			return
		case <-c.ctx.Done():
		}
	}
	if err := removeAll(o.Remove); err != nil {
		end.Error = strings.TrimPrefix(end.Error+"; "+err.Error(), "; ")
	}
	c.report(end)
}
