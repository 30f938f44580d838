package btrfstest

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pathCalls are the system calls by which package os gets at files, and what a connection begins with.
var pathCalls = []uint32{
	unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
	unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_CHDIR, unix.SYS_MOUNT, unix.SYS_SOCKET,
}

// WithoutFiles runs f where a system call that takes a path, or makes a socket, ends the whole program with SIGSYS and a trace of who
// made it. It holds for f itself, not for goroutines that f starts.
func WithoutFiles(f func()) {
	done := make(chan string)
	barred() <- func() {
		defer func() {
			text := ""
			if p := recover(); p != nil {
				text = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- text
		}()
		f()
	}
	if text := <-done; text != "" {
		panic(text)
	}
}

// barred starts the thread that may not, and gives what is to run on it.
var barred = sync.OnceValue(func() chan<- func() {
	work, ready := make(chan func()), make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: no other goroutine gets this thread
		ready <- barPaths()
		for f := range work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		panic(err)
	}
	return work
})

// barPaths makes pathCalls of this thread raise SIGSYS (seccomp(2)).
func barPaths() error {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call is first
	for i, call := range pathCalls {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(pathCalls) - i), K: call})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRAP})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("bar system calls: %w", err)
	}
	return nil
}
