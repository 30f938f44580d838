package persist

import (
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestVersions holds what makes two things the same, and what does not.
func TestVersions(t *testing.T) {
	m := newMachine(t)
	for _, p := range []string{"/a/x", "/b/x", "/c/x", "/d/x", "/e/x", "/f/x"} {
		m.write(p, "same")
	}
	btrfstest.Run(t, "touch", "-d", "2001-02-03", m.path("/b/x"))
	btrfstest.Run(t, "setfattr", "-n", "user.note", "-v", "1", m.path("/c/x"))
	m.chown("/d/x", 1000, 0, 0o644)
	m.write("/e/x", "diff")
	btrfstest.Run(t, "touch", "-r", m.path("/a/x"), m.path("/e/x"))
	m.symlink("same", "/g/x")
	m.symlink("other", "/h/x")
	m.mkdir("/i/x")
	m.mkdir("/none")
	m.write("/file", "")
	v := NewVersions(t.Context())
	for _, c := range []struct {
		dir, kind string
		number    uint64
	}{
		{"/a", "file", 1},
		{"/b", "file", 1},
		{"/c", "file", 2},
		{"/d", "file", 3},
		{"/e", "file", 4},
		{"/f", "file", 1},
		{"/g", "symlink", 5},
		{"/h", "symlink", 6},
		{"/g", "symlink", 5},
		{"/i", "directory", 7},
		{"/none", "absent", 0},
		{"/i/x", "absent", 0},
	} {
		got, err := v.Look(m.path(c.dir), "/x")
		if err != nil || got.Kind.Name() != c.kind || got.Number != c.number {
			t.Errorf("%s is %s, version %d (%v), want %s, version %d", c.dir, got.Kind.Name(), got.Number, err, c.kind, c.number)
		}
	}
	if got, err := v.Look(m.path("/a"), "/x/y/z"); err != nil || got.Number != 0 {
		t.Errorf("below a file: %+v, %v", got, err)
	}
	if got, err := v.Look(m.path("/i"), "/"); err != nil || got.Kind != IsDirectory {
		t.Errorf("the root itself: %+v, %v", got, err)
	}
}
