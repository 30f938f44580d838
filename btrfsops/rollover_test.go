package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestRolloverGivesAFreshRootAndKeepsTheFormer(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/stray", "stray")
	former := f.id(t, "root")
	report := f.boot(t, 1, RolloverOptions{})

	f.lacks(t, "root/stray")
	f.lacks(t, "root.next")
	f.has(t, report.OldRoot+"/stray", "stray")
	f.has(t, "persist/of", "persist")
	f.has(t, "nix/of", "nix")
	if report.Former != former || report.Fresh != f.id(t, "root") {
		t.Errorf("report says former %d, fresh %d; on disk %d, %d", report.Former, report.Fresh, former, f.id(t, "root"))
	}
	want := fmt.Sprintf("old_roots/%s-%d", now.Add(time.Hour).Format(nameTime), former)
	if report.OldRoot != want {
		t.Errorf("old root is %q, want %q", report.OldRoot, want)
	}
	if report.Duration <= 0 {
		t.Errorf("it took %s", report.Duration)
	}
	roots := f.list(t)
	if len(roots) != 1 || roots[0].ID != former || roots[0].Kind != KindOld || !roots[0].RolledOver.Equal(now.Add(time.Hour)) {
		t.Errorf("listed: %+v", roots)
	}
}

func TestRolloverTwiceIsOnce(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	f.write(t, "root/made-in-this-boot", "x")
	if report := f.boot(t, 1, RolloverOptions{}); !report.Already || report.Fresh != 0 {
		t.Errorf("second rollover of one boot: %+v", report)
	}
	f.has(t, "root/made-in-this-boot", "x")
	f.boot(t, 2, RolloverOptions{})
	if roots := f.list(t); len(roots) != 2 || roots[1].BootID != bootID(1) {
		t.Errorf("old roots: %+v", roots)
	}
}

func TestFreshRootFromTemplate(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/etc/os-release", "debian")
	must(t, f.SetNextBoot(layout, NextKeep))
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", f.path("root"), f.path("template"))
	f.write(t, "root/stray", "stray")
	l := Layout{Root: "root", OldRoots: "old_roots", Template: "template"}
	report := f.boot(t, 1, RolloverOptions{Layout: l})
	f.has(t, "root/etc/os-release", "debian")
	f.lacks(t, "root/stray")
	f.write(t, "root/writable", "yes")
	if report.Source != "template" {
		t.Errorf("source is %q", report.Source)
	}
	if next, err := f.NextBoot(l); err != nil || next != NextFresh {
		t.Errorf("the template's own attributes came along: next boot %q (%v)", next, err)
	}
}

func TestFreshRootIsEnterableWhateverTheUmask(t *testing.T) {
	f := newFixture(t)
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	f.boot(t, 1, RolloverOptions{})
	st, err := os.Stat(f.path("root"))
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("fresh root has mode %v (%v)", st.Mode(), err)
	}
}

func TestBootACopyOfAnOldRoot(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/lost", "precious")
	first := f.boot(t, 1, RolloverOptions{})
	name := f.list(t)[0].Name
	report := f.boot(t, 2, RolloverOptions{From: name})
	f.has(t, "root/lost", "precious")
	f.has(t, first.OldRoot+"/lost", "precious")
	f.write(t, "root/lost", "changed")
	f.has(t, first.OldRoot+"/lost", "precious")
	if report.Source != first.OldRoot {
		t.Errorf("source %q, want %q", report.Source, first.OldRoot)
	}
	if _, err := f.tryBoot(3, RolloverOptions{From: "nowhere"}); !errors.Is(err, ErrNoSuchRoot) {
		t.Errorf("copy of an old root that isn't: %v", err)
	}
	f.has(t, "root/lost", "changed")
}

// What is asked for by name is an old root that is whole, and nothing else.
func TestOnlyAWholeOldRootIsBootedAgain(t *testing.T) {
	f := newFixture(t)
	f.withNested(t)
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	half, whole := f.list(t)[0], f.list(t)[1]
	must(t, f.markHalf(half.ID))
	btrfstest.Subvolume(t, f.path("old_roots/"+unfinishedPrefix+"1"))
	f.write(t, "old_roots/plain/file", "data")
	must(t, os.Symlink(whole.Name, f.path("old_roots/link")))
	before := inventory(t, f)
	for _, from := range []string{
		"../persist", "..", ".", "/", whole.Name + "/../../persist", half.Name + "/var/lib/portables", half.Name,
		unfinishedPrefix + "1", "a\x00b", "plain", "link",
	} {
		report, err := f.tryBoot(3, RolloverOptions{From: from})
		if !errors.Is(err, ErrNoSuchRoot) || report.Fresh != 0 {
			t.Errorf("%q: %+v, %v", from, report, err)
		}
		if after := inventory(t, f); after != before {
			t.Fatalf("%q changed the file system:\n%s\nwas\n%s", from, after, before)
		}
	}
	f.boot(t, 4, RolloverOptions{From: whole.Name})
}

// markHalf says on an old root that its deletion was begun.
func (f *fixture) markHalf(id SubvolumeID) error {
	d := &deletion{Filesystem: f.Filesystem, guards: Guards{Layout: layout}}
	return d.markDeleting(id)
}

// Where one of the calls after the exchange fails, the former root may still be beside the root.
func TestTheReportSaysWhereTheFormerRootIs(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 0, RolloverOptions{})
	beside := 0
	for at, failed := 1, true; failed; at++ {
		f.write(t, "root/marker", "former")
		calls := 0
		failed = false
		f.kernel.step = func(_ string, done bool) error {
			if done {
				return nil
			}
			if calls++; calls != at {
				return nil
			}
			failed = true
			return errInjected
		}
		report, err := f.tryBoot(2*at, RolloverOptions{})
		f.kernel.step = nil
		if failed != (err != nil) {
			t.Errorf("call %d failed: %v, and the error is %v", at, failed, err)
		}
		if report.Fresh == 0 {
			f.has(t, "root/marker", "former")
		} else {
			f.has(t, report.OldRoot+"/marker", "former")
			f.lacks(t, "root/marker")
		}
		if report.OldRoot == "root.next" {
			beside++
		}
		f.boot(t, 2*at+1, RolloverOptions{}) // puts right what is left
	}
	if beside == 0 {
		t.Error("none was still beside the root")
	}
}

// A rollover that stopped after the exchange left the former root as the default subvolume: this boot has mounted that.
func TestWhatARolloverLeftIsMounted(t *testing.T) {
	f := newFixture(t)
	f.makeDefault(t, "root")
	f.interrupt(t, layout, "rename", 1)
	btrfstest.Mount(t, f.device, t.TempDir(), "")
	before := inventory(t, f)
	if _, err := f.tryBoot(9, RolloverOptions{}); !errors.Is(err, ErrRootMounted) {
		t.Errorf("error %v", err)
	}
	if after := inventory(t, f); after != before {
		t.Errorf("the refusal changed the file system:\n%s\nwas\n%s", after, before)
	}
}

func TestRolloverWithoutARoot(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "subvolume", "delete", f.path("root"))
	report := f.boot(t, 1, RolloverOptions{})
	if report.Fresh != f.id(t, "root") || report.Former != 0 || report.OldRoot != "" {
		t.Errorf("report: %+v", report)
	}
}

func TestRolloverRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, f *fixture)
		options RolloverOptions
		want    error
	}{
		"a mounted root": {
			prepare: func(t *testing.T, f *fixture) { t.Helper(); btrfstest.Mount(t, f.device, t.TempDir(), "subvol=root") },
			want:    ErrRootMounted,
		},
		"a plain directory for a root": {
			prepare: func(t *testing.T, f *fixture) {
				t.Helper()
				btrfstest.Run(t, "btrfs", "subvolume", "delete", f.path("root"))
				f.write(t, "root/data", "data")
			},
			want: ErrNotSubvolume,
		},
		"a symlink for a root": {
			prepare: func(t *testing.T, f *fixture) {
				t.Helper()
				must(t, os.Rename(f.path("root"), f.path("elsewhere")))
				must(t, os.Symlink("elsewhere", f.path("root")))
			},
			want: ErrNotSubvolume,
		},
		"a symlink for old_roots": {
			prepare: func(t *testing.T, f *fixture) { t.Helper(); must(t, os.Symlink("persist", f.path("old_roots"))) },
			want:    unix.ELOOP,
		},
		"a persistent volume in the root": {
			prepare: func(t *testing.T, f *fixture) {
				t.Helper()
				must(t, os.Rename(f.path("persist"), f.path("root/persist")))
			},
			options: RolloverOptions{Persistent: []string{"persist"}},
			want:    ErrPersistentRoot,
		},
		"a persistent volume that is a directory of a subvolume in the root": {
			prepare: func(t *testing.T, f *fixture) {
				t.Helper()
				must(t, os.Rename(f.path("persist"), f.path("root/persist")))
				f.write(t, "root/persist/a/system/precious", "precious")
			},
			options: RolloverOptions{Persistent: []string{"persist/a/system"}},
			want:    ErrPersistentRoot,
		},
		"a missing template": {
			prepare: func(*testing.T, *fixture) {},
			options: RolloverOptions{Layout: Layout{Root: "root", OldRoots: "old_roots", Template: "template"}},
			want:    ErrNoTemplate,
		},
		"a plain directory at root.next": {
			prepare: func(t *testing.T, f *fixture) { t.Helper(); f.write(t, "root.next/data", "data") },
			want:    ErrNotSubvolume,
		},
		"paths that leave the top level": {
			prepare: func(*testing.T, *fixture) {},
			options: RolloverOptions{Layout: Layout{Root: "../root", OldRoots: "old_roots"}},
			want:    ErrInvalidName,
		},
		"old roots inside the root": {
			prepare: func(*testing.T, *fixture) {},
			options: RolloverOptions{Layout: Layout{Root: "root", OldRoots: "root/old_roots"}},
			want:    ErrInvalidName,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c.prepare(t, f)
			before := inventory(t, f)
			_, err := f.tryBoot(1, c.options)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			t.Log(err)
			if after := inventory(t, f); after != before {
				t.Errorf("the refusal changed the file system:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// Without a boot id a rollover could not be known to be this boot's.
func TestRolloverWithoutABootIDIsRefused(t *testing.T) {
	f := newFixture(t)
	before := inventory(t, f)
	if _, err := f.Rollover(context.Background(), RolloverOptions{Layout: layout, Now: now}); !errors.Is(err, ErrInvalidName) {
		t.Errorf("error %v", err)
	}
	if after := inventory(t, f); after != before {
		t.Errorf("the refusal changed the file system:\n%s\nwas\n%s", after, before)
	}
}

func TestReadOnlyRootIsRolledOverAndStaysReadOnly(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "property", "set", f.path("root"), "ro", "true")
	f.boot(t, 1, RolloverOptions{})
	f.write(t, "root/writable", "yes")
	if roots := f.list(t); len(roots) != 1 || !roots[0].ReadOnly {
		t.Errorf("old roots: %+v", roots)
	}
}

// One that could not be moved is read-only again until the next boot moves it.
func TestReadOnlyRootThatIsNotPutAwayStaysReadOnly(t *testing.T) {
	f := newFixture(t)
	btrfstest.Run(t, "btrfs", "property", "set", f.path("root"), "ro", "true")
	renames := 0
	f.kernel.step = func(call string, done bool) error {
		if call == "rename" && !done {
			renames++
			if renames == 2 {
				return errInjected
			}
		}
		return nil
	}
	if report, err := f.tryBoot(1, RolloverOptions{}); !errors.Is(err, errInjected) || report.OldRoot != "root.next" {
		t.Errorf("report %+v, error %v", report, err)
	}
	f.kernel.step = nil
	if left, err := f.SubvolumeAt("root.next"); err != nil || !left.ReadOnly {
		t.Errorf("left: %+v (%v)", left, err)
	}
	f.boot(t, 2, RolloverOptions{})
	if roots := f.list(t); len(roots) != 2 || !roots[0].ReadOnly {
		t.Errorf("old roots: %+v", roots)
	}
}

func TestNestedSubvolumesGoWithTheOldRoot(t *testing.T) {
	f := newFixture(t)
	must(t, os.MkdirAll(f.path("root/var/lib"), 0o755))
	btrfstest.Subvolume(t, f.path("root/var/lib/machines"))
	f.write(t, "root/var/lib/machines/image", "image")
	must(t, os.Mkdir(f.path("root/var/lib/machines/volume"), 0o755)) // only a mount point
	report := f.boot(t, 1, RolloverOptions{Persistent: []string{"var/lib/machines/volume", "var/lib/machines/none", "var/lib", "none/below", "/", ".", "/var", "../persist"}})
	f.has(t, report.OldRoot+"/var/lib/machines/image", "image")
	if roots := f.list(t); roots[0].Nested != 1 {
		t.Errorf("old root: %+v", roots[0])
	}
}

func TestTwoEphemeralMountPoints(t *testing.T) {
	f := newFixture(t)
	btrfstest.Subvolume(t, f.path("home"))
	f.write(t, "home/demo/stray", "stray")
	home := Layout{Root: "home", OldRoots: "old_homes"}
	f.boot(t, 1, RolloverOptions{})
	report := f.boot(t, 1, RolloverOptions{Layout: home})
	f.has(t, report.OldRoot+"/demo/stray", "stray")
	f.lacks(t, "home/demo")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inventory is every name, inode and size on the top level but old_roots itself, which may be made.
func inventory(t *testing.T, f *fixture) string {
	t.Helper()
	return btrfstest.Run(t, "find", f.dir, "-mindepth", "1", "!", "-name", "old_roots", "-printf", "%P %i %y %s\n")
}
