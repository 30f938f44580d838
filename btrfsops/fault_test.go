package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

var errInjected = errors.New("injected")

// Every system call of every operation fails once, before and after it took effect; then the process goes, and the next
// boot must converge.
func TestFaults(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.inject(t, func(t *testing.T, device string, at int) bool {
				t.Helper()
				fs, err := OpenDevice(device)
				must(t, err)
				reached := stopAt(fs, at, func() error { return errInjected })
				err = s.work(fs)
				must(t, fs.Close())
				if *reached && err == nil {
					t.Errorf("step %d failed, and nobody was told", at)
				}
				return *reached
			})
		})
	}
}

// The same, with the process killed.
func TestKills(t *testing.T) {
	for i, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.inject(t, func(t *testing.T, device string, at int) bool {
				t.Helper()
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", killEnv, i, at, device))
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == unix.SIGKILL {
					return true
				}
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				return false
			})
		})
	}
}

// killEnv has the scenario, the step and the device for a child that kills itself.
const killEnv = "IMPERMANENCE_TEST_KILL"

// workAndDie is what the child does.
func workAndDie(what string) int {
	fields := strings.Fields(what)
	scenario, _ := strconv.Atoi(fields[0])
	at, _ := strconv.Atoi(fields[1])
	fs, err := OpenDevice(fields[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stopAt(fs, at, func() error { return unix.Kill(os.Getpid(), unix.SIGKILL) })
	if err := scenarios()[scenario].work(fs); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// stopAt makes the at-th step of fs, counted from 0, do f; from then on every step does. It returns whether it came to it.
func stopAt(fs *Filesystem, at int, f func() error) *bool {
	reached, n := false, 0
	fs.kernel.step = func(string, bool) error {
		n++
		if n <= at {
			return nil
		}
		reached = true
		return f()
	}
	return &reached
}

// inject stops the scenario's work at one step after the other, until it is done before that, and boots after each.
func (s scenario) inject(t *testing.T, work func(t *testing.T, device string, at int) (stopped bool)) {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("faults", dir, "tmpfs", 0, "size=2g"))
	t.Cleanup(func() { btrfstest.Unmount(t, dir) })
	base := filepath.Join(dir, "base")
	s.makeBase(t, base)
	for at := 0; ; at++ {
		image := filepath.Join(dir, fmt.Sprint("step", at))
		copySparse(t, base, image)
		stopped := false
		ok := t.Run("work", func(t *testing.T) { stopped = work(t, btrfstest.Attach(t, image), at) })
		if !ok || !t.Run("boot", func(t *testing.T) { s.boot(t, image) }) {
			t.Fatalf("stopped at step %d", at)
		}
		must(t, os.Remove(image))
		if !stopped {
			if at < 4 {
				t.Errorf("only %d steps", at)
			}
			t.Logf("%d steps", at)
			return
		}
	}
}

func TestScenariosHaveNames(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(scenarios()) {
		t.Error("two scenarios have one name: their random cuts would be the same")
	}
}
