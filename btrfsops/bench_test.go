package btrfsops

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// BenchmarkListRoots lists old roots that are there already: what each status, plan and D-Bus listing begins with.
func BenchmarkListRoots(b *testing.B) {
	for _, count := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("roots=", count), func(b *testing.B) {
			fs := withOldRoots(b, count)
			for b.Loop() {
				roots, err := fs.ListRoots(layout)
				if err != nil || len(roots) != count {
					b.Fatalf("%d old roots (%v)", len(roots), err)
				}
			}
		})
	}
}

// BenchmarkListGuarded judges them by every guard too.
func BenchmarkListGuarded(b *testing.B) {
	fs := withOldRoots(b, 1000)
	for b.Loop() {
		if _, err := fs.ListGuarded(Guards{Layout: layout}); err != nil {
			b.Fatal(err)
		}
	}
}

func withOldRoots(b testing.TB, count int) *Filesystem {
	b.Helper()
	device := btrfstest.NewDevice(b, 1<<30)
	dir := filepath.Join(b.TempDir(), "top")
	btrfstest.Mount(b, device, dir, "subvolid=5")
	if err := unix.Mkdir(filepath.Join(dir, "old_roots"), 0o700); err != nil {
		b.Fatal(err)
	}
	fs, err := OpenDevice(device)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = fs.Close() })
	oldRoots, err := fs.openOldRoots(layout, false)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = oldRoots.Close() }()
	for i := range count {
		if err := fs.kernel.createSubvolume(oldRoots, rootName(time.Unix(int64(i), 0), SubvolumeID(i))); err != nil {
			b.Fatal(err)
		}
	}
	return fs
}

// withDeletable makes a file system with count old roots that may be deleted, beside the newest, which may not.
func withDeletable(b testing.TB, count int) (*Filesystem, []SubvolumeID) {
	b.Helper()
	fs := withOldRoots(b, count+1)
	must(b, fs.Sync())
	roots, err := fs.ListRoots(layout)
	must(b, err)
	var ids []SubvolumeID
	for _, root := range roots[:count] {
		ids = append(ids, root.ID)
	}
	return fs, ids
}

// BenchmarkDelete deletes old roots on a file system that was just mounted.
func BenchmarkDelete(b *testing.B) {
	for _, count := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("roots=", count), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				fs, ids := withDeletable(b, count)
				b.StartTimer()
				report, err := fs.Delete(context.Background(), Guards{Layout: layout}, ids, nil)
				if err != nil || len(report.Deleted) != count {
					b.Fatalf("%+v, %v", report, err)
				}
			}
		})
	}
}

// BenchmarkWaitCleaned waits until the space of deleted snapshots is free.
func BenchmarkWaitCleaned(b *testing.B) {
	for _, count := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint("roots=", count), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				fs, ids := withDeletable(b, count)
				report, err := fs.Delete(context.Background(), Guards{Layout: layout}, ids, nil)
				must(b, err)
				b.StartTimer()
				must(b, fs.WaitCleaned(context.Background(), report.Subvolumes, time.Minute))
			}
		})
	}
}
