// Package process starts children that never outlive us.
//
// A child is either our own binary started again in a role (Spec.Role), or a foreign program such as java or postgres
// (Spec.Path). Both hold the read end of a pipe of ours as standard input: when we end, however we end, the kernel closes
// the pipe and the child sees it.
//
// A role watches that pipe itself. A foreign program cannot, so it runs below a guard: our own binary in the built-in role
// "guard", which starts the program, watches the pipe, stops the program in good order and removes the folders it was
// told to. Should the guard itself be killed, the kernel's parent-death signal ends the program (Linux only).
//
// What is not obvious:
//   - The parent-death signal is bound to the thread that forked, not to the process. The guard keeps that thread locked.
//   - A child sits in a process group of its own: Ctrl-C in a terminal reaches us alone, and we decide the order of stopping.
//   - The write end of the log pipe is held by the program and all it forked. Its end of file is how we know that the last
//     of them is gone; Process.Done waits for that, so a restart on the same data meets no leftover.
//   - A write to a log pipe whose reader is gone raises SIGPIPE, which would end a role before it has cleaned up. Roles
//     receive the signal and drop it; it is not ignored, since ignored signals are inherited across exec.
package process
