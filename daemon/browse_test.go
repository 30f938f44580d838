package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestBrowse(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, 2*day, "var/lib/machines/a")
	m.oldRoot(t, day)
	m.fill(t, old, map[string]string{"etc/file": "x"})
	d := m.start(t)
	id := roots(t, d)[old].ID
	at, err := d.BrowseRoot(t.Context(), id)
	must(t, err)
	t.Cleanup(func() { btrfstest.Unmount(t, at) })
	if at != filepath.Join(m.runDir, "roots", old) {
		t.Errorf("mounted at %s", at)
	}
	if data, err := os.ReadFile(filepath.Join(at, "etc/file")); string(data) != "x" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := os.WriteFile(filepath.Join(at, "etc/file"), nil, 0o644); err == nil {
		t.Error("it can be written to")
	}
	options := btrfstest.Run(t, "findmnt", "--noheadings", "--output", "VFS-OPTIONS", at)
	for _, want := range []string{"ro", "nosuid", "nodev", "noexec"} {
		if !slices.Contains(strings.Split(strings.TrimSpace(options), ","), want) {
			t.Errorf("mounted with %s, without %s", options, want)
		}
	}
	if again, err := d.BrowseRoot(t.Context(), id); err != nil || again != at {
		t.Errorf("again: %s, %v", again, err)
	}
	if reasons := roots(t, d)[old].ProtectReasons; !slices.Equal(reasons, []string{"in-use"}) {
		t.Errorf("protected by %v", reasons)
	}
	_, err = d.DeleteRoots(t.Context(), anybody, []uint64{id})
	wantError(t, "delete it meanwhile", err, dbus.ErrProtected)

	held, err := os.Open(filepath.Join(at, "etc/file"))
	must(t, err)
	wantError(t, "unmount it while it is open", d.EndBrowse(t.Context(), id), dbus.ErrMountBusy)
	must(t, held.Close())
	must(t, d.EndBrowse(t.Context(), id))
	must(t, d.EndBrowse(t.Context(), id)) // twice is once
	if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if reasons := roots(t, d)[old].ProtectReasons; len(reasons) > 0 {
		t.Errorf("still protected by %v", reasons)
	}
	_, err = d.BrowseRoot(t.Context(), 4711)
	wantError(t, "unknown root", err, dbus.ErrNoSuchRoot)
}

// A name that another tool gave is not taken for a path.
func TestBrowseOddNames(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"a\nb", "..a", "x y", "caf\xe9"} {
		btrfstest.Subvolume(t, filepath.Join(m.top, "old_roots", name))
	}
	d := m.start(t)
	for name, r := range roots(t, d) {
		at, err := d.BrowseRoot(t.Context(), r.ID)
		must(t, err)
		if base := filepath.Base(at); strings.Trim(base, "0123456789") != "" || filepath.Dir(at) != filepath.Join(m.runDir, "roots") {
			t.Errorf("%q is mounted at %s", name, at)
		}
		must(t, d.EndBrowse(t.Context(), r.ID))
	}
}

// What waits for somebody to look goes with the root.
func TestBrowseEndsWithItsRoot(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	d := m.start(t)
	at := filepath.Join(m.runDir, "roots", old)
	must(t, os.MkdirAll(at, 0o755)) // as an automount that is idle
	id, err := d.DeleteRoots(t.Context(), anybody, []uint64{roots(t, d)[old].ID})
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone {
		t.Errorf("ended as %+v", job)
	}
	if _, err := os.Stat(at); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

// Two mount points may have old roots of one name, as a script gives them: each is mounted at a place of its own.
func TestBrowseRootsOfOneName(t *testing.T) {
	m := newMachine(t)
	m.configure(t, fmt.Sprintf("[ephemeral.\"/home\"]\ndevice = %q\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n", m.device))
	must(t, os.Mkdir(filepath.Join(m.top, "old_homes"), 0o755))
	for _, dir := range []string{"old_roots", "old_homes"} {
		root := filepath.Join(m.top, dir, "2024-11-04_10:33:02")
		btrfstest.Subvolume(t, root)
		must(t, os.WriteFile(filepath.Join(root, "of"), []byte(dir), 0o644))
	}
	d := m.start(t)
	list, err := d.Roots(t.Context(), dbus.RootFilter{})
	must(t, err)
	for _, r := range list {
		at, err := d.BrowseRoot(t.Context(), r.ID)
		must(t, err)
		t.Cleanup(func() { btrfstest.Unmount(t, at) })
		if data, err := os.ReadFile(filepath.Join(at, "of")); string(data) != filepath.Dir(r.Path) {
			t.Errorf("%s shows what is of %q, %v", r.Path, data, err)
		}
	}
}
