package process

import (
	"cmp"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// executable names our own binary so that it is found also when a build has replaced the file on disk meanwhile.
func executable() (string, error) { return "/proc/self/exe", nil }

const (
	anybody        = 65534  // nobody, nearly everywhere
	capDacOverride = 1      // CAP_DAC_OVERRIDE of linux/capability.h: pass by file permissions, into root's home too
	noSetuidFixup  = 1 << 2 // SECBIT_NO_SETUID_FIXUP of linux/securebits.h
)

// somebody is the user and group that a program is under Spec.UserNamespace: one that has a name, since initdb, for one,
// looks its own up.
func somebody() int {
	for _, id := range []int{anybody, 1000, 1, 2} {
		if named(id) {
			return id
		}
	}
	return anybody
}

func named(id int) bool {
	_, err := user.LookupId(strconv.Itoa(id))
	return err == nil
}

// programCommands are the ways to start the program, the best first.
func programCommands(o orders) []func(orders) *exec.Cmd {
	us := os.Geteuid()
	if !o.UserNamespace || us != 0 && named(us) {
		return []func(orders) *exec.Cmd{asOurselves}
	}
	otherwise := asOurselves
	if us == 0 {
		otherwise = asSomebody
	}
	if o.NoNamespace {
		return []func(orders) *exec.Cmd{otherwise}
	}
	return []func(orders) *exec.Cmd{inNamespace, otherwise}
}

func asOurselves(o orders) *exec.Cmd {
	cmd := exec.Command(o.Path, o.Args...)
	cmd.Dir = o.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: o.OrphanSignal}
	return cmd
}

// inNamespace is the program as somebody who outside is us.
func inNamespace(o orders) *exec.Cmd {
	cmd := exec.Command(o.Path, o.Args...)
	cmd.Dir = o.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: o.OrphanSignal, Cloneflags: syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: somebody(), HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: somebody(), HostID: os.Getegid(), Size: 1}},
	}
	return cmd
}

// asSomebody is the program as another user with the one privilege to pass by file permissions. That takes effect with the
// next exec only: neither the program nor its folder may be reachable before. A shell, which is, goes there and becomes
// the program. The secure bit makes access(2) count the privilege, by which initdb looks whether it finds its files; it is
// bound to our thread, which forks the shell. Where it cannot be set, the files must be reachable for all.
func asSomebody(o orders) *exec.Cmd {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, syscall.PR_SET_SECUREBITS, noSetuidFixup, 0, 0, 0, 0)
	cmd := exec.Command("/bin/sh", append([]string{"-c", `cd "$0" && exec "$@"`, cmp.Or(o.Dir, "/"), o.Path}, o.Args...)...)
	id := uint32(somebody())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: o.OrphanSignal,
		Credential: &syscall.Credential{Uid: id, Gid: id}, AmbientCaps: []uintptr{capDacOverride},
	}
	return cmd
}
