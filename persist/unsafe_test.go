package persist

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// demoHome makes a home that its user may write to, on both sides.
func (m *machine) demoHome() {
	for dir := filepath.Dir(m.root); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, home := range []string{"/home/demo", "/persist/home/demo"} {
		m.mkdir(home)
		m.chown(home, 1000, 100, 0o755)
	}
}

// userDoes runs a script as the user demo.
func (m *machine) userDoes(script string) {
	m.t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = m.root
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 100}}
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func TestSymlinksOfUsersAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		entry  Entry
	}{
		"parent in the home":      {"ln -s /etc home/demo/.local", homeEntry(Directory, ".local/share")},
		"relative":                {"ln -s ../../etc home/demo/.local", homeEntry(Directory, ".local/share")},
		"parent of a file":        {"ln -s /etc home/demo/.config", homeEntry(File, ".config/shadow")},
		"parent on the volume":    {"ln -s /etc persist/home/demo/.local", homeEntry(Directory, ".local/share")},
		"out of the root":         {"ln -s ../../../../../../../../../tmp home/demo/.local", homeEntry(Directory, ".local/share")},
		"source":                  {"ln -s /etc persist/home/demo/x", homeEntry(Directory, "x")},
		"source of a file":        {"ln -s /etc/shadow persist/home/demo/x", homeEntry(File, "x")},
		"to itself":               {"ln -s .local home/demo/.local", homeEntry(Directory, ".local/share")},
		"in a directory for all":  {"ln -s /etc shared/link", dirEntry("/shared/link/x")},
		"place, source not there": {"ln -s /etc home/demo/x", homeEntry(Directory, "x")},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.demoHome()
			m.mkdir("/shared")
			m.chown("/shared", 0, 0, 0o1777)
			m.userDoes(c.script)
			before := m.fingerprints()
			_, err := Apply(context.Background(), m.options(), []Entry{c.entry})
			if !errors.Is(err, ErrUnsafePath) && !errors.Is(err, ErrWrongKind) {
				t.Errorf("got %v", err)
			}
			if after := m.fingerprints(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// fingerprints lists all that is there, with the time of its last change of any kind.
func (m *machine) fingerprints() string {
	return btrfstest.Run(m.t, "find", m.root, "-printf", "%p %y %U:%G %m %C@ %l\n")
}

func TestSymlinksOfRootAreFollowed(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv/homes/demo")
	m.chown("/srv/homes/demo", 1000, 100, 0o700)
	m.symlink("srv/homes", "/home")
	m.mkdir("/run/real")
	m.symlink("/run/../run/real/", "/var/link")
	entries := []Entry{homeEntry(Directory, ".cache/app"), dirEntry("/var/link/state")}
	m.apply(entries...)
	m.wantMounted("/srv/homes/demo/.cache/app", true)
	m.wantMounted("/run/real/state", true)
	m.wantUnchanged(entries...)
}

// attack is what a hostile user does in the home, over and over: every component, in the root and on the volume, is at times
// a directory, a symlink to what is not the user's, somebody's file, or gone.
func attack(root string, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(1, 2))
	links := []string{"/victim", "../../victim", "../../../victim", "../../../../victim", root + "/victim", "/etc/passwd", "/victim/file"}
	for {
		select {
		case <-stop:
			return
		default:
		}
		home := root + []string{"/home/demo/", "/persist/home/demo/"}[random.IntN(2)]
		p := home + []string{"a", "a/b", "a/b/place", "a/b/file", "a/b/link"}[random.IntN(5)]
		spare := home + []string{"s1", "s2", "s3"}[random.IntN(3)]
		switch random.IntN(12) {
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
		default: // so that there is often something to go through
			_ = unix.Unlink(home + "a")
			_ = unix.Mkdir(home+"a", 0o755)
			_ = unix.Mkdir(home+"a/b", 0o755)
		}
	}
}

// TestHostileUser swaps components of paths in a home while entries there are applied ten thousand times. Nothing outside the
// home is touched.
func TestHostileUser(t *testing.T) {
	m := newMachine(t)
	m.demoHome()
	m.write("/victim/file", "root's")
	m.chown("/victim/file", 0, 0, 0o600)
	m.write("/victim/b/place/x", "root's")
	m.userDoes("echo x > home/demo/hard; echo x > persist/home/demo/hard")
	outside := func() string {
		return btrfstest.Run(t, "sh", "-c", `cd "$1"; find . -path ./home/demo -prune -o -path ./persist/home/demo -prune -o -printf '%p %y %U:%G %m %C@ %l\n'; stat -c '%n %u:%g %a' home/demo persist/home/demo; grep -c victim /proc/self/mountinfo || true`, "sh", m.root)
	}
	before := outside()
	stop := m.startAttack()
	entries := []Entry{homeEntry(Directory, "a/b/place"), homeEntry(File, "a/b/file"), homeEntry(File, "a/b/link")}
	entries[0].User, entries[0].Mode = "demo", bits(0o700)
	entries[1].Method, entries[1].User, entries[1].Mode = Bind, "demo", bits(0o600)
	placed := 0
	for range 10000 {
		report, _ := Apply(context.Background(), m.options(), entries)
		for _, r := range report.Results {
			if r.State == InPlace && r.Actions != "" {
				placed++
			}
		}
		_ = Unmount(context.Background(), m.options(), entries)
	}
	stop()
	if after := outside(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	if placed == 0 {
		t.Error("the attack left no room to put anything in place: nothing was tested")
	}
	t.Logf("%d entries were put in place meanwhile", placed)
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
