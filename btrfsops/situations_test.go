package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// What happened to people with the shell scripts that roll a root over in the initrd. Numbers are issues of
// nix-community/impermanence.

// The scripts take the modification time of the root directory for the age of the old root.
func TestTheAgeOfAnOldRootIsTheTimeOfItsRollover(t *testing.T) {
	f := newFixture(t)
	longAgo := now.AddDate(0, 0, -40)
	must(t, os.Chtimes(f.path("root"), longAgo, longAgo))
	report := f.boot(t, 1, RolloverOptions{})
	if got := f.list(t)[0].RolledOver; !got.Equal(now.Add(time.Hour)) {
		t.Errorf("rolled over at %v, want the time of the boot", got)
	}
	f.has(t, report.OldRoot+"/of", "root")
}

// Roots cloned from a template have one modification time, so the scripts give them one name; the second is moved into the
// first, the third can't be, and the root is not wiped.
func TestRootsOfOneTemplateDoNotCollide(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	l := Layout{Root: "root", OldRoots: "old_roots", Template: "template"}
	names := map[string]bool{}
	for n := range 4 {
		names[f.boot(t, n+1, RolloverOptions{Layout: l, Now: now}).OldRoot] = true
	}
	roots := f.list(t)
	if len(names) != 4 || len(roots) != 4 {
		t.Errorf("%d names, %d old roots", len(names), len(roots))
	}
	for _, root := range roots {
		if root.HeldRoot != "" || root.Nested > 0 {
			t.Errorf("nested: %+v", root)
		}
	}
}

// The scripts' find has no -mindepth, so old_roots itself can match.
func TestImp261OldRootsItselfIsNeverDeleted(t *testing.T) {
	f := newFixture(t)
	btrfstest.Subvolume(t, f.path("old_roots"))
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	longAgo := now.AddDate(-1, 0, 0)
	must(t, os.Chtimes(f.path("old_roots"), longAgo, longAgo))
	if report := f.delete(t, f.id(t, "old_roots")); len(report.Subvolumes) > 0 {
		t.Errorf("report: %+v", report)
	}
	for _, root := range f.list(t) {
		if root.Name == "old_roots" {
			t.Error("old_roots lists itself")
		}
	}
}

// `btrfs subvolume list -o` of a plain directory lists the children of the subvolume it is in: /nix, /persist, everything.
func TestImp250Imp268PlainDirectoriesInOldRootsCostNothing(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	f.write(t, "old_roots/2024-11-04_10:33:02/restored-from-a-backup", "data")
	var ids []SubvolumeID
	for _, root := range f.list(t) {
		if strings.HasPrefix(root.Name, "2024") {
			t.Errorf("a plain directory is listed: %+v", root)
		}
		ids = append(ids, root.ID)
	}
	f.delete(t, ids...)
	f.has(t, "nix/of", "nix")
	f.has(t, "persist/of", "persist")
	f.has(t, "old_roots/2024-11-04_10:33:02/restored-from-a-backup", "data")
}

// The scripts delete before they create, on the way to the boot.
func TestNothingIsDeletedAtBoot(t *testing.T) {
	f := newFixture(t)
	for n := range 5 {
		f.boot(t, n+1, RolloverOptions{Now: now.AddDate(n, 0, 0)})
		if roots := f.list(t); len(roots) != n+1 {
			t.Errorf("%d old roots after %d boots", len(roots), n+1)
		}
	}
}

// %-d gives unpadded days, and local time comes twice when clocks go back.
func TestNamesSortAsTimeDoes(t *testing.T) {
	zone := time.FixedZone("summer", 2*60*60)
	var names []string
	for _, at := range []time.Time{
		time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(5, 0), time.Date(2026, 10, 9, 3, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 25, 2, 30, 0, 0, zone), time.Date(2026, 10, 25, 2, 30, 0, 0, time.FixedZone("winter", 60*60)),
		time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		names = append(names, rootName(at, 300))
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names: %q", names)
	}
}

// A rollover that ran after the root was mounted left /home empty and the running root in old_roots.
func TestImp231TheMountedRootIsRefused(t *testing.T) {
	f := newFixture(t)
	sysroot := filepath.Join(t.TempDir(), "sysroot")
	btrfstest.Mount(t, f.device, sysroot, "subvol=root")
	if _, err := f.tryBoot(1, RolloverOptions{}); !errors.Is(err, ErrRootMounted) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(sysroot, "of")); err != nil {
		t.Error(err)
	}
}

func TestOldRootsOfScriptsAreAdopted(t *testing.T) {
	f := newFixture(t)
	must(t, os.Mkdir(f.path("old_roots"), 0o700))
	for _, name := range []string{"2024-11-04_10:33:02", "2024-11-4_11:00:00", "what?\n"} {
		btrfstest.Subvolume(t, f.path("old_roots/"+name))
	}
	btrfstest.Subvolume(t, f.path("old_roots/2024-11-04_10:33:02/root"))
	roots := f.list(t)
	if len(roots) != 3 {
		t.Fatalf("adopted: %+v", roots)
	}
	for i, want := range []time.Time{
		time.Date(2024, 11, 4, 10, 33, 2, 0, time.UTC), time.Date(2024, 11, 4, 11, 0, 0, 0, time.UTC), roots[2].Created,
	} {
		if roots[i].Kind != KindOld || !roots[i].RolledOver.Equal(want) {
			t.Errorf("%q: %+v, want the time %v", roots[i].Name, roots[i], want)
		}
	}
	if roots[0].HeldRoot != "old_roots/2024-11-04_10:33:02/root" || roots[1].HeldRoot != "" {
		t.Error("the root that was moved into an old root by accident is not reported")
	}
	if report := f.delete(t, roots[0].ID); len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
}

// A copy made by hand has the attributes of its source, which say nothing about it.
func TestAttributesOfAnotherSubvolumeDoNotCount(t *testing.T) {
	f := newFixture(t)
	snapshot, err := f.Snapshot(context.Background(), layout, SnapshotOptions{Label: "label", Now: now})
	must(t, err)
	must(t, f.SetPinned(layout, snapshot.ID, true))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", f.path(snapshot.Path), f.path("old_roots/by-hand"))
	copied := f.list(t)[0]
	if copied.ID == snapshot.ID || copied.Kind != KindOld || copied.Pinned || copied.Label != "" {
		t.Errorf("the copy is %+v", copied)
	}
	must(t, f.SetLabel(layout, copied.ID, "mine"))
	if copied = f.list(t)[0]; copied.Label != "mine" || copied.Pinned || copied.Kind != KindOld {
		t.Errorf("with a label of its own the copy is %+v", copied)
	}
}

// Without a clock of its own a machine boots in 1970, and learns the time later.
func TestClocks(t *testing.T) {
	f := newFixture(t)
	changed, err := subvolumeInfo(f.top)
	must(t, err)
	lastUse := changed.Changed.Truncate(time.Hour) // of the root: about now
	report := f.boot(t, 1, RolloverOptions{Now: time.Unix(7, 0)})
	if report.RolledOver.Before(lastUse) {
		t.Errorf("with a clock in 1970 the old root is of %v, before it was last used", report.RolledOver)
	}
	names := []string{report.OldRoot}
	for n, clock := range []time.Time{now, now.Add(-time.Hour), now, time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(0, 0)} {
		names = append(names, f.boot(t, n+2, RolloverOptions{Now: clock}).OldRoot)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 6 || len(f.list(t)) != 6 {
		t.Errorf("names: %q", names)
	}
}

func TestAFullDiskKeepsARoot(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	for n := range 20 {
		before := f.id(t, "root")
		report, err := f.tryBoot(n%9+1, RolloverOptions{})
		after := f.id(t, "root")
		switch {
		case err == nil && (report.Already || after == report.Fresh):
		case err != nil && !errors.Is(err, ErrNoSpace):
			t.Fatalf("rollover on a full disk: %v", err)
		case err != nil && after != before && report.Fresh != after:
			t.Errorf("failed (%v), and the root changed from %d to %d", err, before, after)
		}
	}
	f.has(t, "persist/of", "persist")
}

// A root that may not grow takes no attribute either.
func TestARootAtItsQuotaIsRolledOver(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "quota", "enable", f.dir)
	btrfstest.Run(t, "btrfs", "quota", "rescan", "-w", f.dir)
	btrfstest.Run(t, "btrfs", "qgroup", "limit", "1M", f.path("root"))
	file, err := os.Create(f.path("root/filler"))
	must(t, err)
	_, err = io.Copy(file, endless{})
	must(t, file.Close())
	if !errors.Is(err, unix.EDQUOT) || !errors.Is(unix.Setxattr(f.path("root"), "user.one", []byte("1"), 0), unix.EDQUOT) {
		t.Fatalf("filling: %v", err)
	}
	report := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	roots := f.list(t)
	if len(roots) != 2 || roots[0].ID != report.Former || roots[0].Kind != KindOld || !roots[0].RolledOver.Equal(now.Add(time.Hour)) {
		t.Errorf("old roots: %+v", roots)
	}
	if report := f.delete(t, roots[0].ID); len(report.Deleted) != 1 {
		t.Errorf("report: %+v", report)
	}
}

func TestDeletingMakesRoomOnAFullDisk(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	for n := range 4 {
		f.write(t, "root/big", strings.Repeat("x", 4<<20))
		for i := range 500 {
			f.write(t, fmt.Sprint("root/small", i), strings.Repeat("x", 1500)) // is metadata
		}
		f.boot(t, n+1, RolloverOptions{})
	}
	f.fill(t)
	var ids []SubvolumeID
	for _, root := range f.list(t)[:3] {
		ids = append(ids, root.ID)
	}
	report := f.delete(t, ids...)
	if len(report.Failed) > 0 || len(report.Deleted) != 3 {
		t.Fatalf("report: %+v", report)
	}
	must(t, f.WaitCleaned(context.Background(), report.Subvolumes, time.Minute))
	f.write(t, "persist/there-is-room-again", strings.Repeat("x", 4<<20))
}

// fill writes until neither data nor metadata have room, not even for an attribute.
func (f *fixture) fill(t *testing.T) {
	t.Helper()
	file, err := os.Create(f.path("persist/filler"))
	must(t, err)
	_, err = io.Copy(file, endless{})
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling: %v", err)
	}
	must(t, file.Close())
	err = nil
	for i := 0; err == nil; i++ {
		err = os.WriteFile(f.path(fmt.Sprint("persist/small", i)), make([]byte, 1500), 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling: %v", err)
	}
	for n, before := 1, -1; n > before+1; { // a commit may make room for more
		must(t, f.Sync())
		before = n
		for err = nil; err == nil; n++ {
			err = unix.Setxattr(f.path("persist/filler"), fmt.Sprint("user.", n), make([]byte, 1500), 0)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("filling: %v", err)
		}
	}
}

// endless is zeroes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAReadOnlyDeviceIsAnErrorThatSaysSo(t *testing.T) {
	image := btrfstest.NewImage(t, 0)
	device := strings.TrimSpace(btrfstest.Run(t, "losetup", "--find", "--show", "--read-only", image))
	t.Cleanup(func() { btrfstest.Run(t, "losetup", "--detach", device) })
	if _, err := OpenDevice(device); !errors.Is(err, ErrReadOnly) {
		t.Errorf("error %v, want %v", err, ErrReadOnly)
	}
}

func TestADamagedFileSystemIsAnError(t *testing.T) {
	image := btrfstest.NewImage(t, 0)
	device := btrfstest.Attach(t, image)
	file, err := os.OpenFile(image, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteAt(make([]byte, 4096), 64<<10) // the superblock
	must(t, err)
	must(t, file.Close())
	if _, err := OpenDevice(device); !errors.Is(err, ErrNotBtrfs) {
		t.Errorf("error %v, want %v", err, ErrNotBtrfs)
	}
}

func TestOpenMountedTakesOnlyTheTopLevel(t *testing.T) {
	f := newFixture(t)
	fs, err := OpenMounted(f.dir)
	must(t, err)
	if fs.UUID() != f.UUID() || len(fs.UUID()) != 36 {
		t.Errorf("UUID %q and %q", fs.UUID(), f.UUID())
	}
	must(t, fs.Close())
	if _, err := OpenMounted(f.path("root")); !errors.Is(err, ErrNotSubvolume) {
		t.Errorf("a subvolume: %v", err)
	}
	if _, err := OpenMounted(t.TempDir()); !errors.Is(err, ErrNotBtrfs) {
		t.Errorf("another file system: %v", err)
	}
}

func TestStartCommit(t *testing.T) {
	f := newFixture(t)
	must(t, StartCommit(f.dir))
	must(t, StartCommit(f.path("root")))
	if err := StartCommit("/proc"); !errors.Is(err, ErrNotBtrfs) {
		t.Errorf("another file system: %v", err)
	}
	if err := StartCommit(f.path("missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestSpaceOfEveryProfile(t *testing.T) {
	const each = 512 << 20
	for _, c := range []struct {
		profile string
		devices int
		copies  uint64
	}{{"single", 1, 1}, {"dup", 1, 2}, {"raid1", 2, 2}, {"raid1c3", 3, 3}} {
		t.Run(c.profile, func(t *testing.T) {
			var devices []string
			for range c.devices {
				devices = append(devices, btrfstest.NewDevice(t, each))
			}
			btrfstest.Run(t, "mkfs.btrfs", append([]string{"--quiet", "--force", "-d", c.profile, "-m", c.profile}, devices...)...)
			fs, err := OpenDevice(devices[0])
			must(t, err)
			defer func() { must(t, fs.Close()) }()
			numbers, err := fs.devices()
			must(t, err)
			if len(numbers) != c.devices {
				t.Errorf("%d devices, want %d", len(numbers), c.devices)
			}
			space, err := fs.Space()
			must(t, err)
			want := each * uint64(c.devices) / c.copies
			if space.Total != want || space.Free > want || space.Free < want/4 {
				t.Errorf("%+v, want a total of %d", space, want)
			}
		})
	}
}

func TestACanceledContextChangesNothing(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	before := f.id(t, "root")
	if _, err := f.Rollover(ctx, RolloverOptions{Layout: layout, BootID: bootID(1), Now: now}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if f.id(t, "root") != before {
		t.Error("the root was replaced")
	}
	f.boot(t, 2, RolloverOptions{})
}

func TestResolveDevice(t *testing.T) {
	for spec, want := range map[string]string{
		"/dev/mapper/encrypted": "/dev/mapper/encrypted",
		"UUID=ab-cd":            "/dev/disk/by-uuid/ab-cd",
		"LABEL=my root/x":       `/dev/disk/by-label/my\x20root\x2fx`,
		`PARTUUID="1-2"`:        "/dev/disk/by-partuuid/1-2",
		"sda1":                  "", "": "", "UUID=": "",
	} {
		if got, err := ResolveDevice(spec); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", spec, got, err)
		}
	}
}
