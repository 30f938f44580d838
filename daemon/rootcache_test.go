package daemon

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// The snapshot of a comparison comes and goes, and nobody is told of it, nor are all roots read again for it; that one which
// was left behind is deleted is told.
func TestWhatOnlyPassesIsNotTold(t *testing.T) {
	const snapshot = ".unfinished-1"
	top := t.TempDir()
	oldRoots := filepath.Join(top, "old_roots")
	if err := os.Mkdir(oldRoots, 0o700); err != nil {
		t.Fatal(err)
	}
	told, reads := 0, 0
	var c *rootCache
	c = newRootCache(func() { told++; c.forget() }, zap.NewNop().Sugar()) // as the daemon does
	defer c.close()
	left := &listing{roots: []guardedRoot{{GuardedRoot: btrfsops.GuardedRoot{OldRoot: btrfsops.OldRoot{Name: snapshot}}}}}
	list := func(l *listing, meanwhile func()) {
		t.Helper()
		places := []place{{top: top, guards: btrfsops.Guards{Layout: btrfsops.Layout{OldRoots: "old_roots"}}}}
		if _, err := c.list(places, func() (*listing, error) { reads++; meanwhile(); return l, nil }); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func() {}
	event := func(name string, op fsnotify.Op) func() {
		return func() { c.noticed(fsnotify.Event{Name: filepath.Join(oldRoots, name), Op: op}) }
	}
	for _, step := range []struct {
		what string
		do   func()
		told bool
	}{
		{"a list is read", func() { list(&listing{}, nothing) }, false},
		{"a snapshot is made", event(snapshot, fsnotify.Create), false},
		{"it is deleted", event(snapshot, fsnotify.Remove), false},
		{"the list is asked for again", func() { list(left, nothing) }, false},
		{"a root is made", event("20261123T075400Z-300", fsnotify.Create), true},
		{"a snapshot is deleted while a list is read that it may be in", func() { list(left, event(snapshot, fsnotify.Remove)) }, true},
		{"a list is read that has one", func() { list(left, nothing) }, false},
		{"one that is listed is deleted", event(snapshot, fsnotify.Remove), true},
	} {
		before := told
		step.do()
		if (told > before) != step.told {
			t.Errorf("%s: told %v", step.what, told > before)
		}
	}
	if reads != 3 {
		t.Errorf("roots were read %d times", reads)
	}
}

// What others do in a file system that was mounted anew at the same place is told as before.
func TestOldRootsOfAFileSystemThatIsMountedAnew(t *testing.T) {
	device, top := btrfstest.NewDevice(t, 0), filepath.Join(t.TempDir(), "top")
	told := make(chan struct{}, 1)
	c := newRootCache(func() { signal(told) }, zap.NewNop().Sugar())
	defer c.close()
	for i := range 2 {
		btrfstest.Mount(t, device, top, "")
		if err := os.MkdirAll(filepath.Join(top, "old_roots"), 0o700); err != nil {
			t.Fatal(err)
		}
		places := []place{{top: top, guards: btrfsops.Guards{Layout: btrfsops.Layout{OldRoots: "old_roots"}}, mounts: uint64(i)}}
		if _, err := c.list(places, func() (*listing, error) { return &listing{}, nil }); err != nil {
			t.Fatal(err)
		}
		btrfstest.Subvolume(t, filepath.Join(top, "old_roots", strconv.Itoa(i)))
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatalf("mounted for the %d. time: nobody was told", i+1)
		}
		btrfstest.Unmount(t, top)
	}
}
