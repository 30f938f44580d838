package persist

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// attack is what a hostile user does in the home, over and over: every component, in the root and on the volume, is at times
// a directory, a symlink to what is not the user's, somebody's file, or gone.
func attack(root string, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 2))
	links := []string{"/victim", "../../victim", "../../../victim", "../../../../victim", root + "/victim", "/etc/passwd", "/victim/file"}
	names := []string{"a", "a/b", "a/b/place", "a/b/file", "a/b/link"}
	for _, name := range []string{"place", "file"} { // what is staged and kept aside too
		names = append(names, "a/b/"+stagedName(name), "a/b/"+asideName(name, 1))
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		home := root + []string{"/home/demo/", "/persist/home/demo/"}[random.IntN(2)]
		p := home + names[random.IntN(len(names))]
		spare := home + []string{"s1", "s2", "s3"}[random.IntN(3)]
		switch random.IntN(13) {
		case 0:
			_ = unix.Rename(p, spare)
		case 1:
			_ = unix.Rename(spare, p)
		case 2:
			_ = unix.Symlink(links[random.IntN(len(links))], p)
		case 3:
			_ = unix.Unlink(p)
		case 4:
			_ = unix.Link(home+"hard", p)
		case 5:
			_ = unix.Mkdir(p, 0o755)
		case 6:
			_ = os.WriteFile(p, []byte("x"), 0o644)
		default: // so that there is often something to go through
			_ = unix.Unlink(home + "a")
			_ = unix.Mkdir(home+"a", 0o755)
			_ = unix.Mkdir(home+"a/b", 0o755)
		}
	}
}

// TestHostileUser swaps components of paths in a home while entries there are applied ten thousand times, and while all else is
// done to them that is done in the running system. Nothing outside the home is touched, and nothing of it comes into the home.
func TestHostileUser(t *testing.T) {
	for name, c := range map[string]struct {
		rounds int
		once   func(m *machine) (done int)
	}{
		"apply":            {10000, (*machine).applyAndUnmount},
		"adopt and forget": {200, (*machine).adoptAndForget},
		"copy back":        {1000, (*machine).copyInAndBack},
		"restore":          {500, (*machine).restoreHome},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.demoHome()
			m.write("/victim/file", "root's")
			m.chown("/victim/file", 0, 0, 0o600)
			m.write("/victim/b/place/x", "root's")
			m.userDoes("echo x > home/demo/hard; echo x > persist/home/demo/hard")
			before := m.outsideOfHome()
			stop := m.startAttack()
			done := 0
			for range c.rounds {
				done += c.once(m)
			}
			stop()
			if after := m.outsideOfHome(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
			if found := m.tokensBelow("/home/demo") + m.tokensBelow("/persist/home/demo"); strings.Contains(found, "root's") {
				t.Error("what only root may read is in the home")
			}
			if done == 0 {
				t.Error("the attack left no room to do anything: nothing was tested")
			}
			t.Logf("%d times something was done meanwhile", done)
		})
	}
}

// outsideOfHome lists all that is outside the home, and tells what the home is itself.
func (m *machine) outsideOfHome() string {
	m.t.Helper()
	return btrfstest.Run(m.t, "sh", "-c", `cd "$1"; find . -path ./home/demo -prune -o -path ./persist/home/demo -prune -o -printf '%p %y %U:%G %m %C@ %l\n'; stat -c '%n %u:%g %a' home/demo persist/home/demo; grep -c victim /proc/self/mountinfo || true`, "sh", m.root)
}

// hostileEntries are those in the home that is under attack.
func hostileEntries() []Entry {
	entries := []Entry{homeEntry(Directory, "a/b/place"), homeEntry(File, "a/b/file"), homeEntry(File, "a/b/link")}
	entries[0].User, entries[0].Mode = "demo", bits(0o700)
	entries[1].Method, entries[1].User, entries[1].Mode = Bind, "demo", bits(0o600)
	return entries
}

// placed counts what an apply did.
func placed(report Report) (done int) {
	for _, r := range report.Results {
		if r.State == InPlace && r.Actions != "" {
			done++
		}
	}
	return done
}

func (m *machine) applyAndUnmount() int {
	entries := hostileEntries()
	report, _ := Apply(context.Background(), m.options(), entries)
	_ = Unmount(context.Background(), m.options(), entries)
	return placed(report)
}

func (m *machine) adoptAndForget() (done int) {
	for i, p := range []string{"/home/demo/a/b/place", "/home/demo/a/b/file", "/home/demo/a/b"} {
		e, err := EntryFor(m.options(), "/persist", p)
		if err != nil {
			continue
		}
		e.Method = []Method{Auto, Bind, Symlink}[i]
		if _, err := Adopt(context.Background(), m.options(), e); err == nil {
			done++
		}
		if result, err := Forget(context.Background(), m.options(), e); err == nil && result.Actions != "" {
			done++
		}
		_ = Unmount(context.Background(), m.options(), []Entry{e})
	}
	return done
}

func (m *machine) copyInAndBack() int {
	entries := hostileEntries()[1:]
	for i := range entries {
		entries[i].Method = Copy
	}
	opts, done := m.options(), 0
	opts.Done = func(r Result) {
		if r.State == InPlace && r.Actions != "" {
			done++
		}
	}
	_, _ = Apply(context.Background(), opts, entries)
	_, _ = NewCopyBack(opts, entries, 0).copyAll(context.Background())
	return done
}

// restoreHome brings back what the user had there in an old root.
func (m *machine) restoreHome() (done int) {
	old := filepath.Join(filepath.Dir(m.root), "old")
	if _, err := os.Stat(old); err != nil {
		btrfstest.Run(m.t, "sh", "-ec", `mkdir -p "$1/home/demo/a/b/place/sub"; cd "$1/home/demo"; echo old > a/b/file; echo old > a/b/place/sub/x; ln -s /victim a/b/link; chown -hR 1000:100 .`, "sh", old)
	}
	r := Restoration{Sysroot: m.root, From: old}
	for _, p := range []string{"/home/demo/a", "/home/demo/a/b/file", "/home/demo/a/b/place"} {
		r.Items = append(r.Items, RestoreItem{Source: p, Target: p})
	}
	_ = Restore(context.Background(), r, func(r RestoreResult) {
		if r.Action == Restored || r.Action == Replaced {
			done++
		}
	})
	return done
}

// startAttack runs the attack on a thread that belongs to the user, and gives what ends it.
func (m *machine) startAttack() (stop func()) {
	m.t.Helper()
	begun, end, over := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS, 0, 0, 0}, {unix.SYS_SETRESGID, 100, 100, 100}, {unix.SYS_SETRESUID, 1000, 1000, 1000}} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				begun <- errno
				return
			}
		}
		begun <- nil
		attack(m.root, end)
	}()
	if err := <-begun; err != nil {
		m.t.Fatal(err)
	}
	return func() {
		close(end)
		<-over
	}
}
