package persist

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

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
