package btrfsops

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func (f *fixture) guards() Guards {
	return Guards{Layout: layout, Persistent: []string{"persist", "nix"}}
}

func (f *fixture) delete(t *testing.T, ids ...SubvolumeID) DeleteReport {
	t.Helper()
	report, err := f.Delete(context.Background(), f.guards(), ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// withNested makes subvolumes in the root, one of them read-only and holding another.
func (f *fixture) withNested(t *testing.T) {
	t.Helper()
	must(t, os.MkdirAll(f.path("root/var/lib"), 0o755))
	for _, name := range []string{"root/var/lib/machines", "root/var/lib/machines/a", "root/var/lib/machines/a/b", "root/var/lib/portables"} {
		btrfstest.Subvolume(t, f.path(name))
		f.write(t, name+"/data", name)
	}
	btrfstest.Run(t, "btrfs", "property", "set", f.path("root/var/lib/machines/a"), "ro", "true")
}

func TestDeleteTakesNestedSubvolumesAndNothingElse(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	old := f.boot(t, 1, RolloverOptions{}).Former
	f.boot(t, 2, RolloverOptions{})
	var seen []int
	var calls []string
	f.kernel.step = func(call string, _ bool) error {
		calls = append(calls, call)
		return nil
	}
	report, err := f.Delete(context.Background(), f.guards(), []SubvolumeID{old}, func(done, total int) { seen = append(seen, done, total) })
	must(t, err)
	if len(report.Failed) > 0 || !slices.Equal(report.Deleted, []SubvolumeID{old}) || len(report.Subvolumes) != 5 {
		t.Fatalf("report: %+v", report)
	}
	if !slices.Equal(seen, []int{1, 5, 2, 5, 3, 5, 4, 5, 5, 5}) {
		t.Errorf("progress: %v", seen)
	}
	f.kernel.step = nil
	if last := calls[len(calls)-1]; last != "commit" {
		t.Errorf("what it does last is to %s", last)
	}
	if roots := f.list(t); len(roots) != 1 || roots[0].ID == old {
		t.Errorf("left: %+v", roots)
	}
	f.has(t, "persist/of", "persist")
	f.has(t, "nix/of", "nix")
	must(t, f.WaitCleaned(context.Background(), report.Subvolumes, time.Minute))
	if left, err := f.Uncleaned(); err != nil || len(left) > 0 {
		t.Errorf("not cleaned: %v (%v)", left, err)
	}
}

// Somebody has made a whole old root read-only, as snapper leaves them.
func TestAReadOnlyRootWithOthersInIt(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	old := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	btrfstest.Run(t, "btrfs", "property", "set", f.path(old.OldRoot), "ro", "true")
	if report := f.delete(t, old.Former); len(report.Subvolumes) != 5 || len(report.Failed) > 0 {
		t.Errorf("report: %+v", report)
	}
}

// What the kernel alone would let through: each row names one guard.
func TestGuards(t *testing.T) {
	for name, c := range map[string]struct {
		protect func(t *testing.T, f *fixture, g *Guards, root OldRoot)
		want    []ProtectReason
	}{
		"mounted": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				btrfstest.Mount(t, f.device, t.TempDir(), "subvol="+root.Path)
			}, []ProtectReason{ProtectInUse},
		},
		"a nested one is mounted": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				btrfstest.Mount(t, f.device, t.TempDir(), "subvol="+root.Path+"/var/lib/machines/a/b")
			}, []ProtectReason{ProtectInUse},
		},
		"default subvolume": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				btrfstest.Run(t, "btrfs", "subvolume", "set-default", f.path(root.Path))
			}, []ProtectReason{ProtectDefault},
		},
		"holds the default subvolume": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				btrfstest.Run(t, "btrfs", "subvolume", "set-default", f.path(root.Path+"/var/lib/portables"))
			}, []ProtectReason{ProtectDefault},
		},
		"booted": {
			func(_ *testing.T, _ *fixture, g *Guards, root OldRoot) { g.Booted = root.ID },
			[]ProtectReason{ProtectBooted},
		},
		"pinned": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				must(t, f.SetPinned(layout, root.ID, true))
			},
			[]ProtectReason{ProtectPinned},
		},
		"asked for the next boot": {
			func(t *testing.T, f *fixture, _ *Guards, root OldRoot) {
				t.Helper()
				must(t, f.SetNextBoot(layout, root.Name))
			},
			[]ProtectReason{ProtectNext},
		},
		"a persistent volume was moved into it": {
			func(t *testing.T, f *fixture, g *Guards, root OldRoot) {
				t.Helper()
				must(t, os.Rename(f.path("persist"), f.path(root.Path+"/persist")))
				g.Persistent = []string{root.Path + "/persist"}
			}, []ProtectReason{ProtectPersistent},
		},
		"an entry is to be taken from it": {
			func(_ *testing.T, _ *fixture, g *Guards, root OldRoot) {
				g.Awaited = []RootName{{root.ID, root.UUID}, {root.ID + 1, root.UUID}}
			}, []ProtectReason{ProtectEntry},
		},
		"an entry may be to be taken from it": {
			func(t *testing.T, f *fixture, g *Guards, root OldRoot) {
				t.Helper()
				must(t, MarkRecorded(f.path(root.Path)))
				g.Unread = true
			}, []ProtectReason{ProtectEntry},
		},
		"the root was moved into it": {
			func(t *testing.T, f *fixture, g *Guards, root OldRoot) {
				t.Helper()
				g.Persistent = append(g.Persistent, root.Path+"/var/lib/portables")
			}, []ProtectReason{ProtectPersistent},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.withNested(t)
			f.boot(t, 1, RolloverOptions{})
			f.boot(t, 2, RolloverOptions{})
			g := f.guards()
			root := f.list(t)[0]
			c.protect(t, f, &g, root)
			guarded, err := f.ListGuarded(g)
			must(t, err)
			if guarded[0].ID != root.ID || !slices.Equal(guarded[0].Reasons, c.want) {
				t.Errorf("protected: %+v, want %v", guarded[0], c.want)
			}
			report, err := f.Delete(context.Background(), g, []SubvolumeID{root.ID}, nil)
			must(t, err)
			if len(report.Subvolumes) > 0 || len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrProtected) {
				t.Errorf("report: %+v", report)
			}
			f.has(t, root.Path+"/var/lib/machines/a/b/data", "root/var/lib/machines/a/b")
		})
	}
}

// A root of the same id on another file system is another one, and what was recorded of a root counts as long as the record can't be read.
func TestRootsThatNothingIsTakenFrom(t *testing.T) {
	f := newFixture(t)
	old := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	must(t, MarkRecorded(f.path(old.OldRoot)))
	g := f.guards()
	g.Awaited = []RootName{{old.Former, "5e0ff0c5-1d43-4a4f-8f3b-0d5b4f9a0000"}}
	report, err := f.Delete(context.Background(), g, []SubvolumeID{old.Former}, nil)
	must(t, err)
	if len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
}

func TestTheNewestIsProtected(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	report := f.delete(t, f.list(t)[0].ID)
	if len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrProtected) {
		t.Errorf("report: %+v", report)
	}
}

// What is newer than the newest former root takes its place only when it is one, and whole.
func TestTheNewestIsAWholeFormerRoot(t *testing.T) {
	f := newFixture(t)
	whole := f.boot(t, 1, RolloverOptions{}).Former
	half := f.boot(t, 2, RolloverOptions{}).Former
	must(t, f.markHalf(half))
	_, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Now: now.Add(time.Hour)})
	must(t, err)
	if report := f.delete(t, whole); len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrProtected) {
		t.Errorf("the newest whole one: %+v", report)
	}
	if report := f.delete(t, half); len(report.Deleted) != 1 {
		t.Errorf("half of one: %+v", report)
	}
}

func TestOnlySubvolumesDirectlyBelowOldRootsAreDeleted(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	f.write(t, "old_roots/plain/data", "data")
	must(t, os.Symlink("../nix", f.path("old_roots/20260101T000000Z-1")))
	btrfstest.Subvolume(t, f.path("old_roots/plain/inner"))
	nested := f.id(t, f.list(t)[0].Path+"/var/lib/machines")
	for _, id := range []SubvolumeID{
		f.id(t, "root"), f.id(t, "nix"), f.id(t, "persist"), TopLevelID, 0, 1 << 40, f.id(t, "old_roots/plain/inner"), nested,
	} {
		report := f.delete(t, id)
		if len(report.Subvolumes) > 0 || len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrNoSuchRoot) {
			t.Errorf("subvolume %d: %+v", id, report)
		}
	}
	f.has(t, "old_roots/plain/data", "data")
	f.has(t, "nix/of", "nix")
}

// A list is made while a job deletes.
func TestListWhileRootsAreDeleted(t *testing.T) {
	fs, ids := withDeletable(t, 400)
	deleted := make(chan error, 1)
	go func() {
		_, err := fs.Delete(context.Background(), Guards{Layout: layout}, ids, nil)
		deleted <- err
	}()
	for lists := 1; ; lists++ {
		_, err := fs.ListRoots(layout)
		must(t, err)
		select {
		case err := <-deleted:
			must(t, err)
			if roots, err := fs.ListRoots(layout); err != nil || len(roots) != 1 || lists == 1 {
				t.Errorf("%d roots after %d lists (%v)", len(roots), lists, err)
			}
			return
		default:
		}
	}
}

func TestDeleteGoesOnAfterAFailure(t *testing.T) {
	f := newFixture(t)
	for n := range 4 {
		f.boot(t, n+1, RolloverOptions{})
	}
	roots := f.list(t)
	must(t, f.SetPinned(layout, roots[1].ID, true))
	report := f.delete(t, roots[0].ID, roots[1].ID, roots[2].ID)
	if !slices.Equal(report.Deleted, []SubvolumeID{roots[0].ID, roots[2].ID}) || len(report.Failed) != 1 || report.Failed[0].ID != roots[1].ID {
		t.Errorf("report: %+v", report)
	}
}

// What somebody saves out of an old root while it is being deleted is no part of it any more, at whatever depth.
func TestWhatIsMovedOutMeanwhileStays(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"root/outer", "root/outer/inner"} {
		btrfstest.Subvolume(t, f.path(name))
		f.write(t, name+"/data", name)
	}
	for n := range 3 {
		f.boot(t, n+1, RolloverOptions{})
	}
	root, other := f.list(t)[0], f.list(t)[1]
	report, err := f.Delete(context.Background(), f.guards(), []SubvolumeID{other.ID, root.ID}, func(done, _ int) {
		if done == 1 { // the other one is gone, now it is this one's turn
			must(t, os.Rename(f.path(root.Path+"/outer"), f.path("persist/outer")))
		}
	})
	must(t, err)
	f.has(t, "persist/outer/data", "root/outer")
	f.has(t, "persist/outer/inner/data", "root/outer/inner")
	if len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrStateChanged) || len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
}

// Each subvolume of a tree is looked at when its turn comes, however far the deletion has got.
func TestWhatChangesInATreeMeanwhileStays(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, f *fixture, outer string)
		want   error
	}{
		{"renamed", func(t *testing.T, f *fixture, outer string) {
			t.Helper()
			must(t, os.Rename(f.path(outer), f.path(outer)+".kept"))
		}, ErrStateChanged},
		{"mounted", func(t *testing.T, f *fixture, outer string) {
			t.Helper()
			btrfstest.Mount(t, f.device, filepath.Join(t.TempDir(), "mnt"), "subvol="+outer)
		}, ErrProtected},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t)
			btrfstest.Subvolume(t, f.path("root/outer"))
			btrfstest.Subvolume(t, f.path("root/outer/inner"))
			f.boot(t, 1, RolloverOptions{})
			f.boot(t, 2, RolloverOptions{})
			root := f.list(t)[0]
			outer := f.id(t, root.Path+"/outer")
			report, err := f.Delete(context.Background(), f.guards(), []SubvolumeID{root.ID}, func(done, _ int) {
				if done == 1 { // the inner one is gone
					row.change(t, f, root.Path+"/outer")
				}
			})
			must(t, err)
			if len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, row.want) || len(report.Subvolumes) != 1 {
				t.Errorf("report: %+v", report)
			}
			if _, err := f.backref(outer); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAPartlyDeletedRootIsListedAsSuchAndFinished(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	old := f.boot(t, 1, RolloverOptions{}).Former
	f.boot(t, 2, RolloverOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	report, err := f.Delete(ctx, f.guards(), []SubvolumeID{old}, func(done, _ int) {
		if done == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || len(report.Subvolumes) != 2 || len(report.Deleted) > 0 {
		t.Fatalf("report %+v, error %v", report, err)
	}
	if roots := f.list(t); !roots[0].Deleting {
		t.Errorf("not listed as being deleted: %+v", roots[0])
	}
	if err := f.SetNextBoot(layout, f.list(t)[0].Name); !errors.Is(err, ErrNoSuchRoot) {
		t.Errorf("half an old root can be asked for the next boot: %v", err)
	}
	if report := f.delete(t, old); len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
}

func TestSnapshot(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/file", "content")
	must(t, f.SetNextBoot(layout, NextKeep))
	snapshot, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Label: "before the upgrade", BootID: bootID(1), Now: now})
	must(t, err)
	if snapshot.Kind != KindSnapshot || !snapshot.ReadOnly || snapshot.Label != "before the upgrade" || !snapshot.RolledOver.Equal(now) || snapshot.Name != rootName(now, snapshot.ID) {
		t.Errorf("snapshot: %+v", snapshot)
	}
	f.has(t, snapshot.Path+"/file", "content")
	must(t, f.SetLabel(layout, snapshot.ID, "after"))
	must(t, f.SetPinned(layout, snapshot.ID, true))
	if got := f.list(t)[0]; got.Label != "after" || !got.Pinned || !got.ReadOnly {
		t.Errorf("after SetLabel and SetPinned: %+v", got)
	}
	must(t, f.SetPinned(layout, snapshot.ID, false))
	if report := f.delete(t, snapshot.ID); len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
	if _, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Label: "a\nb", Now: now}); !errors.Is(err, ErrInvalidName) {
		t.Errorf("a label with a newline: %v", err)
	}
}

// A snapshot takes nobody's place, whoever has guessed its name.
func TestSnapshotWhoseNameIsTaken(t *testing.T) {
	f := newFixture(t)
	before, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Now: now})
	must(t, err)
	taken := path.Join(layout.OldRoots, rootName(now, before.ID+1), "file")
	f.write(t, taken, "somebody's")
	if _, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Now: now}); !errors.Is(err, ErrRootExists) {
		t.Errorf("error %v", err)
	}
	f.has(t, taken, "somebody's")
	if list := f.list(t); len(list) != 2 || !slices.ContainsFunc(list, func(r OldRoot) bool { return r.Kind == KindDiscarded }) {
		t.Errorf("what could not be named is not put away: %+v", list)
	}
}

func TestNextBootIsUsedOnce(t *testing.T) {
	f := newFixture(t)
	must(t, f.SetNextBoot(layout, NextKeep))
	if next, err := f.NextBoot(layout); err != nil || next != NextKeep {
		t.Errorf("next boot %q (%v)", next, err)
	}
	f.boot(t, 1, RolloverOptions{})
	if next, err := f.NextBoot(layout); err != nil || next != NextFresh {
		t.Errorf("after a rollover the next boot is %q (%v)", next, err)
	}
	if err := f.SetNextBoot(layout, "nonsense"); !errors.Is(err, ErrNoSuchRoot) {
		t.Errorf("next boot of an old root that isn't: %v", err)
	}
}

func TestWritersExcludeEachOther(t *testing.T) {
	f := newFixture(t)
	unlock, err := f.lock()
	must(t, err)
	other := &fixture{device: f.device, dir: f.dir}
	other.open(t)
	if _, err := other.tryBoot(1, RolloverOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("rollover while another writes: %v", err)
	}
	if _, err := other.ListRoots(layout); err != nil {
		t.Errorf("a reader waits for a writer: %v", err)
	}
	unlock()
	other.boot(t, 1, RolloverOptions{})
}

func TestExclusiveBytes(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/shared", string(make([]byte, 1<<20)))
	snapshot, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Now: time.Now()})
	must(t, err)
	f.write(t, "root/own", string(make([]byte, 2<<20)))
	must(t, f.Sync())
	size, err := f.ExclusiveBytes(t.Context(), snapshot.ID)
	if err != nil || size >= 1<<20 {
		t.Errorf("a snapshot that wrote nothing has %d exclusive bytes (%v)", size, err)
	}
	if size, err = f.ExclusiveBytes(t.Context(), f.id(t, "root")); err != nil || size < 2<<20 {
		t.Errorf("a root that wrote 2 MiB has %d exclusive bytes (%v)", size, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = f.ExclusiveBytes(ctx, f.id(t, "root")); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled search: %v", err)
	}
}

// What can't be looked at is not taken for what is not there: neither what was asked for the next boot, nor a volume, in an old root or in the root.
func TestNothingIsDeletedUnseen(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	must(t, f.SetNextBoot(layout, f.list(t)[0].Name))
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
	_, errNext := f.NextBoot(layout)
	_, errWatch := f.watchNext(layout)
	_, errAt := f.addAt(nil, "persist")
	_, _, errNested := (&rollover{Filesystem: f.Filesystem, RolloverOptions: RolloverOptions{Layout: layout}}).nestedAround("persist")
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for _, err := range []error{errNext, errWatch, errAt, errNested} {
		if !errors.Is(err, unix.EMFILE) {
			t.Errorf("without a free file descriptor: %v", err)
		}
	}
}

// The space of a subvolume in which a program has something open is not waited for without end, also while that writes.
func TestWhatIsOpenIsNotCleaned(t *testing.T) {
	f := newFixture(t)
	old := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	held, err := os.Create(f.path(old.OldRoot + "/held"))
	must(t, err)
	defer held.Close()
	report := f.delete(t, old.Former)
	if err := f.WaitCleaned(t.Context(), report.Subvolumes, 0); !errors.Is(err, ErrUncleaned) {
		t.Errorf("while it is open: %v", err)
	}
	_, err = held.WriteString("more")
	must(t, err)
	if err := f.WaitCleaned(t.Context(), report.Subvolumes, 0); !errors.Is(err, ErrUncleaned) {
		t.Errorf("while it is written to: %v", err)
	}
	must(t, held.Close())
	must(t, f.WaitCleaned(t.Context(), report.Subvolumes, time.Minute))
}
