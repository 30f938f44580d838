package daemon_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// Two ephemeral mount points on two file systems whose subvolume ids are the same: each root has an id of its own, and
// what is done to one is done to that one.
func TestTwoFilesystems(t *testing.T) {
	m := newMachine(t)
	home := newMachine(t)
	btrfstest.Mount(t, home.device, filepath.Join(m.sysroot, "home"), "subvol=root")
	must(t, os.WriteFile(m.config, fmt.Appendf(nil, "[ephemeral.\"/\"]\ndevice = %q\n[ephemeral.\"/home\"]\ndevice = %q\n", m.device, home.device), 0o644))
	here, there := m.oldRoot(t, 2*day), home.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	home.oldRoot(t, day)
	if here != there {
		t.Fatalf("the file systems are to be alike: %s, %s", here, there)
	}
	d := m.start(t)
	list, err := d.Roots(t.Context(), dbus.RootFilter{})
	must(t, err)
	ids := map[uint64]bool{}
	var far uint64
	for _, r := range list {
		ids[r.ID] = true
		far = max(far, r.ID)
	}
	if len(list) != 4 || len(ids) != 4 {
		t.Fatalf("listed %d roots with %d ids", len(list), len(ids))
	}
	must(t, d.SetPinned(t.Context(), far, true))
	for _, name := range m.rolledOver(t) {
		if hasAttribute(filepath.Join(m.top, "old_roots", name), "pinned") {
			t.Error("the pin is on the wrong file system")
		}
	}
	wantError(t, "an old root of /home for /", d.SetNextBoot(t.Context(), fmt.Sprint(far)), dbus.ErrInvalidArgs)

	one := uint32(1)
	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one, Wait: true})
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone || job.ItemsDone != 2 {
		t.Errorf("ended as %+v", job)
	}
	if len(m.rolledOver(t)) != 1 || len(home.rolledOver(t)) != 1 {
		t.Errorf("left: %v, %v", m.rolledOver(t), home.rolledOver(t))
	}
}

// A disk that is not there has no say in what becomes of the old roots of another.
func TestAFileSystemThatIsNotThere(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[ephemeral.\"/backup\"]\ndevice = \"UUID=5e0ff0c5-1d43-4a4f-8f3b-0d5b4f9a0000\"\nsubvolume = \"backup\"\n")
	old := subvolumeID(t, filepath.Join(m.top, "old_roots", m.oldRoot(t, 2*day)))
	m.oldRoot(t, 2*day)
	newest := m.oldRoot(t, day)
	d := m.start(t)
	if _, err := d.Roots(t.Context(), dbus.RootFilter{}); err == nil || !strings.Contains(err.Error(), "/backup: ") {
		t.Errorf("the list is told to be whole: %v", err)
	}
	must(t, d.SetPinned(t.Context(), old, true))
	must(t, d.SetPinned(t.Context(), old, false))
	one := uint32(1)
	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
	if job := finish(t, d, id, err); job.Result != dbus.ResultPartial || !strings.Contains(job.Error.Message, "/backup: ") {
		t.Errorf("ended as %+v", job)
	}
	if left := m.rolledOver(t); len(left) != 1 || left[0] != newest {
		t.Errorf("left: %v", left)
	}
}

// A service sees no devices, so that a file system that is configured by its UUID here and by nothing there is known by what is mounted.
func TestAFileSystemByTwoNames(t *testing.T) {
	m := newMachine(t)
	btrfstest.Subvolume(t, filepath.Join(m.top, "home"))
	btrfstest.Mount(t, m.device, filepath.Join(m.sysroot, "home"), "subvol=home")
	must(t, os.WriteFile(m.config, []byte("[ephemeral.\"/\"]\ndevice = \"UUID=5e0ff0c5-1d43-4a4f-8f3b-0d5b4f9a0000\"\n[ephemeral.\"/home\"]\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n"), 0o644))
	must(t, os.Mkdir(filepath.Join(m.top, "old_homes"), 0o755))
	name := m.oldRoot(t, day)
	id := subvolumeID(t, filepath.Join(m.top, "old_roots", name))
	must(t, os.Rename(filepath.Join(m.top, "old_roots", name), filepath.Join(m.top, "old_homes", name)))
	list, err := m.start(t, func(o *daemon.Options) { o.Top = m.top }).Roots(t.Context(), dbus.RootFilter{})
	must(t, err)
	if len(list) != 1 || list[0].ID != id {
		t.Errorf("listed %+v, want subvolume %d", list, id)
	}
}

// A root that a script moved into an old root is told of, with where it is.
func TestARootInAnOldRootIsTold(t *testing.T) {
	m := newMachine(t)
	holder := m.oldRoot(t, 2*day, "root", "var/lib/machines")
	m.oldRoot(t, day, "var/root")
	roots, err := m.start(t).Roots(t.Context(), dbus.RootFilter{})
	must(t, err)
	if len(roots) != 2 || roots[0].HeldRoot != "old_roots/"+holder+"/root" || roots[1].HeldRoot != "" {
		t.Errorf("roots: %+v", roots)
	}
}

// The top level that the service finds mounted is that of the file system that "/" is on. Where another one alone is ephemeral, nothing is
// looked for there, nor deleted.
func TestTheTopLevelOfAnotherFilesystem(t *testing.T) {
	m := newMachine(t)
	home := newMachine(t)
	btrfstest.Mount(t, home.device, filepath.Join(m.sysroot, "home"), "subvol=root")
	btrfstest.Mount(t, m.device, filepath.Join(m.runDir, "top"), "subvolid=5")
	for _, device := range []string{"device = " + strconv.Quote(home.device), "device = \"UUID=5e0ff0c5-1d43-4a4f-8f3b-0d5b4f9a0000\"", ""} {
		must(t, os.WriteFile(m.config, fmt.Appendf(nil, "[ephemeral.\"/home\"]\n%s\n", device), 0o644))
		browser := &topBrowser{t: t}
		kept := len(m.rolledOver(t))
		m.oldRoot(t, 3*day)
		m.oldRoot(t, 2*day)
		there := home.oldRoot(t, day)
		d := m.start(t, func(o *daemon.Options) { o.Browser = browser })
		one := uint32(1)
		id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
		if job := finish(t, d, id, err); job.Result != dbus.ResultDone {
			t.Errorf("%s: ended as %+v", device, job)
		}
		if len(m.rolledOver(t)) != kept+2 {
			t.Errorf("%s: of the file system of / %q are left", device, m.rolledOver(t))
		}
		if list := roots(t, d); len(list) != 1 || list[there].ID == 0 {
			t.Errorf("%s: listed %v", device, list)
		}
	}
}

// topBrowser mounts top levels, as the service manager does.
type topBrowser struct {
	daemon.Browser
	t *testing.T
}

func (b *topBrowser) MountTop(_ context.Context, device, at string) error {
	btrfstest.Mount(b.t, device, at, "subvolid=5")
	return nil
}

// Where two mount points name one file system differently, and keep their old roots in one directory, nothing is taken for the other's.
func TestMountPointsThatShareADirectory(t *testing.T) {
	m := newMachine(t)
	alias := filepath.Join(t.TempDir(), "device")
	must(t, os.Symlink(m.device, alias))
	m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	for shared, own := range map[string]string{
		"subvolume = \"home\"\n":           "subvolume = \"home\"\noldRoots = \"old_homes\"\n",
		"oldRoots = \"old_homes\"\n":       "subvolume = \"home\"\noldRoots = \"old_homes\"\n",
		"oldRoots = \"old_roots/homes\"\n": "subvolume = \"home\"\noldRoots = \"old_homes\"\n",
	} {
		m.configure(t, fmt.Sprintf("[ephemeral.\"/home\"]\ndevice = %q\n%s", alias, shared))
		d := m.start(t)
		_, err := d.Roots(t.Context(), dbus.RootFilter{})
		wantError(t, "list", err, dbus.ErrInvalidConfiguration)
		one := uint32(1)
		_, err = d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
		wantError(t, "prune", err, dbus.ErrInvalidConfiguration)
		m.configure(t, fmt.Sprintf("[ephemeral.\"/home\"]\ndevice = %q\n%s", alias, own))
		must(t, d.Reload(t.Context()))
		roots(t, d)
	}
}

// A second mount point whose device is left out is on the root's file system, also while it is not mounted.
func TestAMountPointThatIsNotMounted(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[ephemeral.\"/home\"]\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n")
	must(t, os.Mkdir(filepath.Join(m.top, "old_homes"), 0o755))
	here := m.oldRoot(t, 2*day)
	name := m.oldRoot(t, day)
	must(t, os.Rename(filepath.Join(m.top, "old_roots", name), filepath.Join(m.top, "old_homes", name)))
	list := roots(t, m.start(t))
	if len(list) != 2 || list[here].Path != "old_roots/"+here || list[name].Path != "old_homes/"+name {
		t.Errorf("listed %v", list)
	}
}
