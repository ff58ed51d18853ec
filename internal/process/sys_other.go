//go:build !linux

package process

import (
	"os"
	"os/exec"
	"syscall"
)

func executable() (string, error) { return os.Executable() }

// programCommands has neither a parent-death signal nor user namespaces to offer here: a program outlives a guard that was
// killed, and one that refuses root must be started by another user.
func programCommands(orders) []func(orders) *exec.Cmd {
	return []func(orders) *exec.Cmd{func(o orders) *exec.Cmd {
		cmd := exec.Command(o.Path, o.Args...)
		cmd.Dir, cmd.SysProcAttr = o.Dir, &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}}
}
