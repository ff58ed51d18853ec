//go:build !linux

package process

import (
	"os"
	"syscall"
)

func executable() (string, error) { return os.Executable() }

// programAttributes has neither a parent-death signal nor user namespaces to offer here: a program outlives a guard that
// was killed, and one that refuses root must be started by another user.
func programAttributes(orders) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
