package btrfstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv marks the re-executed process; its value is the directory for temporary files.
const insideEnv = "IMPERMANENCE_TEST_NAMESPACE"

// Main runs the tests of a package in a private mount namespace and exits with their result. Call it from TestMain.
//
// A mount namespace belongs to a thread in Linux, and Go moves goroutines between threads, so the whole process has to
// start in it: Main executes the test binary a second time, with the same arguments, and passes its exit code on.
func Main(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests mount file systems and need root: run `sudo make test`")
		os.Exit(1)
	}
	temporary := os.Getenv(insideEnv)
	if temporary == "" {
		os.Exit(reexecute())
	}
	if os.Getenv("TMPDIR") != temporary { // else it was prepared for who has started this process, as a worker that fuzzes
		if err := prepare(temporary); err != nil {
			fmt.Fprintln(os.Stderr, "prepare the mount namespace:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// prepare makes all mounts private and gives the tests a tmpfs for temporary files: images in memory don't wait for the
// disk at each commit, and are gone with the namespace.
func prepare(temporary string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("btrfstest", temporary, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return os.Setenv("TMPDIR", temporary)
}

// reexecute runs this binary again in a new mount namespace and returns its exit code.
func reexecute() int {
	temporary, err := os.MkdirTemp("", "btrfstest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.Remove(temporary) }()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideEnv+"="+temporary)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "start the tests in a mount namespace:", err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
