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
	cmd := exec.Command(o.Path, o.Args...)
	cmd.Env, cmd.Dir = o.Env, o.Dir
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = programAttributes(o)
	if err := cmd.Start(); err != nil {
		c.report(report{Started: true, Error: explainStart(o, err).Error()})
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

	c.finish(o, report{Ended: true, State: cmd.ProcessState.String(), Forced: forced})
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

func explainStart(o orders, err error) error {
	if o.UserNamespace && os.Geteuid() == 0 && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL)) {
		return fmt.Errorf("%s refuses to run as root, and a user namespace to run it in is not permitted here (%w): "+
			"run as another user, or allow unprivileged user namespaces (sysctl user.max_user_namespaces, the container's seccomp profile)", o.Name, err)
	}
	return err
}
