package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// guard runs one foreign program and returns the exit code. It ends when the program has ended, never before.
func (c *child) guard() int {
	// The program's parent-death signal is sent when the thread that forked it ends. This goroutine lives as long as the
	// guard, and keeps its thread.
	runtime.LockOSThread()

	o, ok := c.orders()
	if !ok {
		return 1
	}
	if o.Path == "" {
		return c.keepFolders(o)
	}
	cmd, err := startProgram(o)
	if err != nil {
		c.report(report{Started: true, Error: err.Error()})
		return 1
	}
	c.report(report{Started: true, Pid: cmd.Process.Pid})

	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	forced := false
	select {
	case <-ended:
	case <-c.kill:
		_ = cmd.Process.Kill()
	case <-c.ctx.Done():
		forced = c.stop(cmd, o, ended)
	}
	<-ended
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what the program forked and left behind in its group

	c.finish(o, report{Ended: true, State: cmd.ProcessState.String(), Success: cmd.ProcessState.Success(), Forced: forced})
	return 0
}

// stop asks the program to end, and says whether it had to be forced.
func (c *child) stop(cmd *exec.Cmd, o orders, ended <-chan struct{}) (forced bool) {
	_ = cmd.Process.Signal(o.StopSignal)
	timeout := time.NewTimer(o.StopTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-c.kill:
		_ = cmd.Process.Kill()
	case <-timeout.C:
		_ = cmd.Process.Kill()
		return true
	}
	return false
}

// keepFolders is a guard without a program: it removes folders when the parent is gone.
func (c *child) keepFolders(o orders) int {
	c.report(report{Started: true, Pid: os.Getpid()})
	select {
	case <-c.ctx.Done():
	case <-c.kill:
	}
	c.finish(o, report{Ended: true, State: "returned"})
	return 0
}

// startProgram starts the program in the first of the ways that is permitted here.
func startProgram(o orders) (*exec.Cmd, error) {
	var hold *os.File
	if o.Hold {
		hold = os.NewFile(holdFd, "lock")
	}
	var errs []error
	for _, way := range programCommands(o) {
		cmd := way(o)
		cmd.Env, cmd.Stdout, cmd.Stderr = o.Env, os.Stdout, os.Stderr
		if hold != nil {
			cmd.ExtraFiles = []*os.File{hold}
		}
		err := cmd.Start()
		if err == nil {
			return cmd, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EINVAL) {
			break // not a matter of privileges
		}
	}
	if len(errs) > 1 {
		return nil, fmt.Errorf("%s refuses to run as the user we are, and neither a user namespace nor another user is permitted here: run as an ordinary user: %w",
			o.Name, errors.Join(errs...))
	}
	return nil, errs[0]
}
