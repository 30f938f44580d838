package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// crashScenario is something to apply, below a directory of its own, and what must be there in the end.
type crashScenario struct {
	name    string
	entries func(dir string) []Entry
	setUp   func(m *machine, dir string)
	shown   map[string]string // file below dir -> content that the place must show in the end
	lost    []string          // what must be found somewhere, at any time
	former  string            // where the former root is, if the entry is to be adopted from it
}

func sub(kind Kind, method Method) func(dir string) []Entry {
	return func(dir string) []Entry {
		e := dirEntry(dir + "/parent/place")
		e.Kind, e.Method = kind, method
		return []Entry{e}
	}
}

func adopting(kind Kind, method Method) func(dir string) []Entry {
	return func(dir string) []Entry {
		e := sub(kind, method)(dir)[0]
		e.Adopt = true
		return []Entry{e}
	}
}

var crashScenarios = []crashScenario{
	{
		name: "directory made anew",
		entries: func(dir string) []Entry {
			e := sub(Directory, Bind)(dir)[0]
			e.User, e.Group, e.Mode, e.Parent.User = "demo", "adm", bits(0o2770), "demo"
			return []Entry{e}
		},
		setUp: func(*machine, string) {},
	},
	{
		name:    "tree seeded",
		entries: sub(Directory, Auto),
		setUp: func(m *machine, dir string) {
			m.write(dir+"/parent/place/sub/file", "precious")
			m.chown(dir+"/parent/place/sub", 1000, 100, 0o750)
			btrfstest.Run(m.t, "ln", m.path(dir+"/parent/place/sub/file"), m.path(dir+"/parent/place/second"))
			m.symlink("sub/file", dir+"/parent/place/link")
		},
		shown: map[string]string{"/parent/place/sub/file": "precious", "/parent/place/second": "precious"},
		lost:  []string{"precious"},
	},
	{
		name:    "tree adopted from the former root",
		entries: adopting(Directory, Auto),
		setUp: func(m *machine, dir string) {
			m.write("/former"+dir+"/parent/place/sub/file", "precious")
		},
		shown:  map[string]string{"/parent/place/sub/file": "precious"},
		former: "/former",
	},
	{
		name:    "file adopted from the former root and copied",
		entries: adopting(File, Copy),
		setUp: func(m *machine, dir string) {
			m.write("/former"+dir+"/parent/place", "precious")
			m.write(dir+"/parent/place", "from the template")
		},
		shown:  map[string]string{"/parent/place": "precious"},
		lost:   []string{"from the template"},
		former: "/former",
	},
	{
		name:    "file seeded and bound",
		entries: sub(File, Auto),
		setUp:   func(m *machine, dir string) { m.write(dir+"/parent/place", "precious") },
		shown:   map[string]string{"/parent/place": "precious"},
		lost:    []string{"precious"},
	},
	{
		name:    "file seeded and linked",
		entries: sub(File, Symlink),
		setUp:   func(m *machine, dir string) { m.write(dir+"/parent/place", "precious") },
		shown:   map[string]string{"/parent/place": "precious"},
		lost:    []string{"precious"},
	},
	{
		name:    "directory seeded and linked",
		entries: sub(Directory, Symlink),
		setUp:   func(m *machine, dir string) { m.write(dir+"/parent/place/file", "precious") },
		lost:    []string{"precious"},
	},
	{
		name:    "conflict moved aside",
		entries: sub(Directory, Bind),
		setUp: func(m *machine, dir string) {
			m.write("/persist"+dir+"/parent/place/file", "kept")
			m.write(dir+"/parent/place", "in the way")
		},
		shown: map[string]string{"/parent/place/file": "kept"},
		lost:  []string{"kept", "in the way"},
	},
	{
		name:    "copied in over what is there",
		entries: sub(File, Copy),
		setUp: func(m *machine, dir string) {
			m.write("/persist"+dir+"/parent/place", "kept")
			m.write(dir+"/parent/place", "from the template")
		},
		shown: map[string]string{"/parent/place": "kept"},
		lost:  []string{"kept", "from the template"},
	},
	{
		name:    "copied back",
		entries: sub(File, Copy),
		setUp: func(m *machine, dir string) {
			m.write("/persist"+dir+"/parent/place", "old")
			m.apply(sub(File, Copy)(dir)...)
			m.write(dir+"/parent/place", "changed by its program")
		},
		shown: map[string]string{"/parent/place": "changed by its program"},
		lost:  []string{"changed by its program"},
	},
	{
		name:    "both sides of a copy changed",
		entries: sub(File, Copy),
		setUp: func(m *machine, dir string) {
			m.write("/persist"+dir+"/parent/place", "old")
			m.apply(sub(File, Copy)(dir)...)
			m.write(dir+"/parent/place", "changed by its program")
			m.write("/persist"+dir+"/parent/place", "changed on the volume")
		},
		shown: map[string]string{"/parent/place": "changed by its program"},
		lost:  []string{"changed by its program", "changed on the volume"},
	},
}

var errCrash = errors.New("crashed")

// TestCrashAfterEveryStep stops each scenario after every system call that changes something. Nothing may be lost then, and
// the next run completes: after a kill, with mounts left as they are, and after a power cut, without any.
func TestCrashAfterEveryStep(t *testing.T) {
	m := newMachine(t)
	for i, s := range crashScenarios {
		t.Run(s.name, func(t *testing.T) {
			for n := 1; ; n++ {
				for _, powerCut := range []bool{false, true} {
					dir := fmt.Sprintf("/s%02d-%03d-%t", i, n, powerCut)
					if m.crashOnce(t, s, dir, n, powerCut, true) {
						return
					}
				}
			}
		})
	}
}

// TestEveryCallMayFail lets one call of each scenario fail, with all that follows working. It is reported, nothing is lost,
// and the next run completes.
func TestEveryCallMayFail(t *testing.T) {
	m := newMachine(t)
	for i, s := range crashScenarios {
		t.Run(s.name, func(t *testing.T) {
			for n := 1; ; n++ {
				if m.crashOnce(t, s, fmt.Sprintf("/f%02d-%03d", i, n), n, false, false) {
					return
				}
			}
		})
	}
}

// crashOnce lets the call number n fail, and with forever all that follow. It tells whether there was no such call.
func (m *machine) crashOnce(t *testing.T, s crashScenario, dir string, n int, powerCut, forever bool) bool {
	t.Helper()
	m.mkdir(dir)
	s.setUp(m, dir)
	calls, last := 0, ""
	k := &kernel{hook: func(call, object string) error {
		calls++
		if calls == n {
			last = call + " " + object
		}
		if calls == n || forever && calls > n {
			return errCrash
		}
		return nil
	}}
	entries, opts := s.entries(dir), m.options()
	if s.former != "" {
		opts.Former = func(e Entry) (string, string, error) { return m.path(s.former), e.Target, nil }
	}
	_, err := apply(context.Background(), k, opts, entries)
	if calls < n {
		return true
	}
	if !errors.Is(err, errCrash) && !errors.Is(err, ErrConflict) && !strings.Contains(last, "remove attribute") && !strings.Contains(last, "reflink") && !strings.Contains(last, "copy ") {
		t.Errorf("%s: call %d (%s) failed and that was not reported: %v", s.name, n, last, err)
	}
	if powerCut {
		if err := Unmount(context.Background(), m.options(), entries); err != nil {
			t.Errorf("%s: unmount: %v", s.name, err)
		}
	}
	m.wantNothingLost(t, s, dir, last)
	if _, err := Apply(context.Background(), opts, entries); err != nil && !errors.Is(err, ErrConflict) {
		t.Errorf("%s: the run after a crash at %s: %v", s.name, last, err)
	}
	m.wantNothingLost(t, s, dir, last)
	for p, want := range s.shown {
		if entries[0].Method == Symlink {
			continue // leads to /persist of the booted system
		}
		if got := m.read(dir + p); got != want {
			t.Errorf("%s: after a crash at %s %s shows %q, want %q", s.name, last, p, got, want)
		}
	}
	// In the root something may be left of what was exchanged for a symlink or copy: that is known to be in the source.
	if left := m.staged("/persist" + dir); left != "" {
		t.Errorf("%s: after a crash at %s and another run, this is left: %s", s.name, last, left)
	}
	m.t = t
	m.wantUnchanged(entries...)
	return false
}

func (m *machine) wantNothingLost(t *testing.T, s crashScenario, dir, last string) {
	t.Helper()
	found := m.tokensBelow(dir) + " " + m.tokensBelow("/persist"+dir)
	for _, token := range s.lost {
		if !strings.Contains(found, token) && !m.isBeneath(dir, token) {
			t.Errorf("%s: after a crash at %s %q is lost", s.name, last, token)
		}
	}
}

// isBeneath looks for content that a mount hides.
func (m *machine) isBeneath(dir, token string) bool {
	tree, err := unix.OpenTree(unix.AT_FDCWD, m.root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		m.t.Fatal(err)
	}
	defer unix.Close(tree)
	beneath := *m
	beneath.root = procPath(tree)
	return strings.Contains(beneath.tokensBelow(dir), token)
}

// staged names what is left of something staged.
func (m *machine) staged(dir string) string {
	var left []string
	_ = filepath.WalkDir(m.path(dir), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, stagedSuffix) {
			left = append(left, path)
		}
		return nil
	})
	return strings.Join(left, " ")
}
