package process

import (
	"cmp"
	"os"
	"os/exec"
	"syscall"
)

// executable names our own binary so that it is found also when a build has replaced the file on disk meanwhile.
func executable() (string, error) { return "/proc/self/exe", nil }

const (
	somebody       = 1000 // the user and group of a program under Spec.UserNamespace
	capDacOverride = 1    // CAP_DAC_OVERRIDE of linux/capability.h: pass by file permissions, into root's home too
)

// programCommands are the ways to start the program, the best first.
func programCommands(o orders) []*exec.Cmd {
	direct := func(attr syscall.SysProcAttr) *exec.Cmd {
		cmd := exec.Command(o.Path, o.Args...)
		cmd.Dir, cmd.SysProcAttr = o.Dir, &attr
		return cmd
	}
	plain := syscall.SysProcAttr{Setpgid: true, Pdeathsig: o.OrphanSignal}
	if !o.UserNamespace || os.Geteuid() != 0 {
		return []*exec.Cmd{direct(plain)}
	}
	namespace, other := plain, plain
	namespace.Cloneflags = syscall.CLONE_NEWUSER
	namespace.UidMappings = []syscall.SysProcIDMap{{ContainerID: somebody, HostID: 0, Size: 1}}
	namespace.GidMappings = []syscall.SysProcIDMap{{ContainerID: somebody, HostID: 0, Size: 1}}

	// The capability takes effect with the next exec only: neither the program nor its folder may be reachable before
	// that. A shell, which is, goes there and becomes the program.
	other.Credential = &syscall.Credential{Uid: somebody, Gid: somebody}
	other.AmbientCaps = []uintptr{capDacOverride}
	shell := exec.Command("/bin/sh", append([]string{"-c", `cd "$0" && exec "$@"`, cmp.Or(o.Dir, "/"), o.Path}, o.Args...)...)
	shell.SysProcAttr = &other
	if o.NoNamespace {
		return []*exec.Cmd{shell}
	}
	return []*exec.Cmd{direct(namespace), shell}
}
