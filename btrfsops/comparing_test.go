package btrfsops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// differences compares a root with a base.
func (f *fixture) differences(t *testing.T, base, root string) []Change {
	t.Helper()
	var found []Change
	must(t, f.Compare(context.Background(), Comparison{Layout: layout, Base: base, Root: root}, func(c Change) error {
		found = append(found, c)
		return nil
	}))
	slices.SortFunc(found, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return found
}

// searching calls f while a comparison is under way.
func (f *fixture) searching(t *testing.T, during func()) {
	t.Helper()
	calls := 0
	must(t, f.Compare(context.Background(), Comparison{Layout: layout}, func(Change) error {
		if calls++; calls == 1 {
			during()
		}
		return nil
	}))
	if calls == 0 {
		t.Fatal("nothing was found")
	}
}

// unfinished returns the unfinished snapshots there are, as the kernel has them.
func (f *fixture) unfinished(t *testing.T) []SubvolumeID {
	t.Helper()
	all, err := f.subvolumes()
	must(t, err)
	var ids []SubvolumeID
	for id, s := range all.byID {
		if strings.HasPrefix(s.Name, unfinishedPrefix) {
			ids = append(ids, id)
		}
	}
	return ids
}

func TestCompareHidesItsSnapshot(t *testing.T) {
	f := newFixture(t)
	f.searching(t, func() {
		held := f.unfinished(t)
		if len(held) != 1 || len(f.list(t)) != 0 {
			t.Errorf("snapshots %v, of which %v are listed", held, f.list(t))
		}
		report, err := f.Delete(context.Background(), Guards{Layout: layout}, held, nil)
		if err != nil || len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrNoSuchRoot) {
			t.Errorf("a snapshot that is being searched was deleted: %+v, %v", report, err)
		}
		f.boot(t, 1, RolloverOptions{}) // nobody has to wait for a comparison
	})
	if left := f.unfinished(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCompareLeavesNothingWhenItFails(t *testing.T) {
	f := newFixture(t)
	enough := errors.New("enough")
	err := f.Compare(context.Background(), Comparison{Layout: layout}, func(Change) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("an error of the receiver becomes %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = f.Compare(ctx, Comparison{Layout: layout}, func(Change) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled comparison says %v", err)
	}
	if left := f.unfinished(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// What a crash leaves of a comparison is known as something to delete.
func TestCompareCrashLeavesADiscarded(t *testing.T) {
	f := newFixture(t)
	must(t, os.MkdirAll(f.path("old_roots"), 0o700))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("old_roots/"+unfinishedPrefix+"X"))
	roots := f.list(t)
	if len(roots) != 1 || roots[0].Kind != KindDiscarded {
		t.Fatalf("listed: %+v", roots)
	}
	report, err := f.Delete(context.Background(), Guards{Layout: layout}, []SubvolumeID{roots[0].ID}, nil)
	if err != nil || len(report.Deleted) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// Whoever asks whether a leftover is held, two at a time and with processes that are forked meanwhile, it is not.
func TestALeftoverIsNotHeldByWhoAsks(t *testing.T) {
	f := newFixture(t)
	must(t, os.MkdirAll(f.path("old_roots"), 0o700))
	name := unfinishedPrefix + "X"
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("old_roots/"+name))
	var group errgroup.Group
	for range 2 {
		group.Go(func() error {
			for range 500 {
				roots, err := f.ListRoots(layout)
				if err != nil {
					return err
				}
				if len(roots) != 1 {
					return fmt.Errorf("listed %+v", roots)
				}
			}
			return nil
		})
		group.Go(func() error {
			for range 50 {
				if err := exec.Command("true").Run(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, group.Wait())
	dir, err := os.Open(f.path("old_roots/" + name))
	must(t, err)
	must(t, hold(dir))
	if roots := f.list(t); len(roots) != 0 {
		t.Errorf("listed while it is held: %+v", roots)
	}
	release(dir)
	if roots := f.list(t); len(roots) != 1 {
		t.Errorf("listed after that: %+v", roots)
	}
	must(t, dir.Close())
}

// One whose deletion was planned before it was held is not deleted when its turn comes.
func TestDeleteSparesWhatIsHeldMeanwhile(t *testing.T) {
	f := newFixture(t)
	must(t, os.MkdirAll(f.path("old_roots"), 0o700))
	name := "old_roots/" + unfinishedPrefix + "X"
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path(name))
	d, err := f.planDeletion(Guards{Layout: layout}, []SubvolumeID{f.id(t, name)}, nil)
	must(t, err)
	defer d.watch.close()
	dir, err := os.Open(f.path(name))
	must(t, err)
	defer func() { must(t, dir.Close()) }()
	must(t, hold(dir))
	must(t, d.run(context.Background()))
	if len(d.report.Failed) != 1 || !errors.Is(d.report.Failed[0].Err, ErrNoSuchRoot) {
		t.Errorf("%+v", d.report)
	}
}

func TestCompareRefuses(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct {
		base, root string
		want       error
	}{
		{"", "old_roots/none", ErrNoSuchRoot},
		{"none", "root", ErrNoSuchRoot},
		{"root/of", "root", ErrNotSubvolume},
	} {
		err := f.Compare(context.Background(), Comparison{Layout: layout, Base: row.base, Root: row.root}, func(Change) error { return nil })
		if !errors.Is(err, row.want) {
			t.Errorf("%s against %s: %v, want %v", row.root, row.base, err, row.want)
		}
	}
	must(t, os.RemoveAll(f.path("root")))
	if err := f.Compare(context.Background(), Comparison{Layout: layout}, nil); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v", err)
	}
}

// A file system without room is where one wants to know what could go. ETXTBSY is the kernel's word for a swap file in use.
func TestCompareWhereNoSnapshotCanBeMade(t *testing.T) {
	f := newFixture(t)
	must(t, f.Sync())
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EROFS, unix.ETXTBSY} {
		f.kernel.step = func(call string, _ bool) error {
			if call == "create snapshot" {
				return errno
			}
			return nil
		}
		if found := f.differences(t, "", ""); len(found) != 1 || found[0].Path != "of" {
			t.Errorf("%v: found %+v", errno, found)
		}
	}
	if _, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Now: now}); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "swap file") {
		t.Errorf("a snapshot on request: %v", err)
	}
}

// Paths of any length, of files that have to be read to be compared.
func TestCompareDeeperThanPathsAreLong(t *testing.T) {
	f := newFixture(t)
	btrfstest.Subvolume(t, f.path("build"))
	const depth = 40
	name := strings.Repeat("x", 200)
	content := bytes.Repeat([]byte("text"), 5000)
	write := func(top string, data []byte) {
		dir, err := unix.Open(f.path(top), unix.O_DIRECTORY|unix.O_RDONLY, 0)
		must(t, err)
		for range depth {
			_ = unix.Mkdirat(dir, name, 0o755)
			next, err := unix.Openat(dir, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
			must(t, err)
			must(t, unix.Close(dir))
			dir = next
		}
		fd, err := unix.Openat(dir, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err)
		file := os.NewFile(uintptr(fd), "file")
		_, err = file.Write(data)
		must(t, err)
		must(t, file.Close())
		must(t, unix.Close(dir))
	}
	write("build", content)
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("build"), f.path("template"))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path("template"), f.path("deep"))
	write("deep", content)
	if found := f.differences(t, "template", "deep"); len(found) != 0 {
		t.Errorf("written as it was: %+v", found)
	}
	write("deep", append([]byte("T"), content[1:]...))
	found := f.differences(t, "template", "deep")
	want := strings.Repeat(name+"/", depth) + "file"
	if len(found) != 1 || found[0].Path != want || found[0].Kind != ChangeModified {
		t.Errorf("written otherwise: %+v", found)
	}
}

// What a comparison tells of a change.
func TestCompareTells(t *testing.T) {
	f := newFixture(t)
	must(t, os.Remove(f.path("root/of")))
	f.write(t, "root/kept", "0123456789")
	f.write(t, "root/gone", "01234")
	must(t, os.MkdirAll(f.path("root/old"), 0o750))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path("template"), f.path("next"))
	f.write(t, "next/kept", "0123456789!")
	must(t, os.Link(f.path("next/kept"), f.path("next/link")))
	must(t, os.Remove(f.path("next/gone")))
	must(t, os.Rename(f.path("next/old"), f.path("next/new")))
	must(t, os.Chmod(f.path("next/new"), 0o700))
	btrfstest.Subvolume(t, f.path("next/nested"))
	found := f.differences(t, "template", "next")
	paths := []string{"gone", "kept", "link", "nested", "new"}
	if len(found) != len(paths) {
		t.Fatalf("found %+v", found)
	}
	for i, want := range []func(c Change) bool{
		func(c Change) bool {
			return c.Kind == ChangeDeleted && c.Size == 5 && c.Before == nil && c.Changed.Equal(statTime(t, f.path("next")))
		},
		func(c Change) bool {
			return c.Kind == ChangeModified && c.Size+c.Before.Size == 21 && !c.Link && c.Aspects == AspectContent && c.Mode == 0o644
		},
		func(c Change) bool { return c.Kind == ChangeAdded && c.Link && c.Size == 0 },
		func(c Change) bool { return c.Type == TypeSubvolume && c.Subvolume == f.id(t, "next/nested") },
		func(c Change) bool {
			return c.Kind == ChangeRenamed && c.From == "old" && c.Type == TypeDirectory && c.Aspects == AspectMode &&
				c.Mode == 0o700 && c.Before.Mode == 0o750
		},
	} {
		if found[i].Path != paths[i] || !want(found[i]) {
			t.Errorf("%s: %+v", paths[i], found[i])
		}
	}
}

// TestCompareKnowsForks holds who is related to whom: without it everything would be compared by paths.
func TestCompareKnowsForks(t *testing.T) {
	f := newFixture(t)
	snapshot := func(from, to string) {
		t.Helper()
		btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path(from), f.path(to))
	}
	snapshot("root", "a")
	snapshot("a", "b")
	snapshot("a", "c")
	btrfstest.Run(t, "btrfs", "subvolume", "delete", f.path("a"))
	info := func(name string) Subvolume {
		s, _, err := f.one(f.id(t, name), keyRootItem)
		must(t, err)
		return s
	}
	for _, row := range []struct {
		base, root string
		want       fork
	}{
		{"b", "c", fork{info("b").CreatedIn, true}}, // by an ancestor that is gone
		{"b", "b", fork{^uint64(0), true}},
		{"root", "b", fork{}}, // the line is broken: nothing is assumed
		{"nix", "root", fork{}},
	} {
		got, err := f.forkOf(info(row.base), info(row.root))
		if err != nil || got != row.want {
			t.Errorf("%s and %s: %+v, %v, want %+v", row.base, row.root, got, err, row.want)
		}
	}
	f.write(t, "b/new", "")
	must(t, f.Sync())
	if got, err := f.forkOf(info("b"), info("c")); err != nil || got.still {
		t.Errorf("a base that was written to: %+v, %v", got, err)
	}
}

func statTime(t *testing.T, p string) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Clean(p))
	must(t, err)
	return info.ModTime()
}

// An inode number that is given again after a mount is not the same file.
func TestCompareKnowsReusedInodeNumbers(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/last", "old")
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path("template"), f.path("next"))
	must(t, os.Remove(f.path("next/last")))
	must(t, f.Close())
	btrfstest.Unmount(t, f.dir)
	btrfstest.Mount(t, f.device, f.dir, "subvolid=5")
	f.open(t)
	f.write(t, "next/new", "new")
	inode := func(name string) uint64 {
		info, err := os.Stat(f.path(name))
		must(t, err)
		return info.Sys().(*syscall.Stat_t).Ino
	}
	if inode("template/last") != inode("next/new") {
		t.Fatal("the number was not given again")
	}
	found := f.differences(t, "template", "next")
	if len(found) != 2 || found[0].Kind != ChangeDeleted || found[1].Kind != ChangeAdded {
		t.Errorf("found %+v", found)
	}
	found = f.differences(t, "next", "template")
	if len(found) != 2 || found[0].Kind != ChangeAdded || found[1].Kind != ChangeDeleted {
		t.Errorf("found the other way round: %+v", found)
	}
}

// Two roots of one template give the same numbers to what each makes: that makes it no more the same.
func TestCompareKnowsSiblingsApart(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	for _, name := range []string{"one", "two"} {
		btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path("template"), f.path(name))
		f.write(t, name+"/etc/of-"+name, name)
	}
	found := f.differences(t, "one", "two")
	if len(found) != 2 || found[0].Kind != ChangeDeleted || found[0].Path != "etc/of-one" || found[1].Kind != ChangeAdded {
		t.Errorf("found %+v", found)
	}
}
