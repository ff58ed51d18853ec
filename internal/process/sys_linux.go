package process

import (
	"os"
	"syscall"
)

// executable names our own binary so that it is found also when a build has replaced the file on disk meanwhile.
func executable() (string, error) { return "/proc/self/exe", nil }

// namespaceID is the user and group that a program sees itself as inside Spec.UserNamespace.
const namespaceID = 1000

func programAttributes(o orders) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: o.OrphanSignal}
	if o.UserNamespace && os.Geteuid() == 0 {
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: namespaceID, HostID: 0, Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: namespaceID, HostID: 0, Size: 1}}
	}
	return attr
}
