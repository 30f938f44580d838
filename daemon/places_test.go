package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

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
