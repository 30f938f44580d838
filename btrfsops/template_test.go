package btrfsops

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestTemplateFromTheRoot(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	f.write(t, "root/etc/of", "the root")
	n, err := f.StageTemplate(t.Context(), templateLayout, FromRoot)
	must(t, err)
	defer n.Close()
	f.has(t, n.Path()+"/etc/of", "the root")
	f.lacks(t, "template")
	must(t, n.Commit(t.Context()))
	found, err := f.Templates(templateLayout)
	must(t, err)
	if found.Current == nil || found.Current.ID != n.ID() || !found.Current.ReadOnly || found.Former != nil || found.Staged != nil {
		t.Errorf("got %+v", found)
	}
	f.boot(t, 2, RolloverOptions{Layout: templateLayout})
	f.has(t, "root/etc/of", "the root")
	if next, err := f.NextBoot(templateLayout); err != nil || next != NextFresh {
		t.Errorf("a fresh root inherits %q (%v)", next, err)
	}
}

// TestSubvolumesInsideWhatIsCopied: a fresh root has a directory in the place of each, with owner and mode, that can be written to.
func TestSubvolumesInsideWhatIsCopied(t *testing.T) {
	for name, copied := range map[string]func(*testing.T, *fixture) RolloverOptions{
		"template": func(t *testing.T, f *fixture) RolloverOptions {
			t.Helper()
			must(t, changeTemplateOf(t, f, "made"))
			return RolloverOptions{Layout: templateLayout}
		},
		"old root": func(t *testing.T, f *fixture) RolloverOptions {
			t.Helper()
			return RolloverOptions{From: path.Base(f.boot(t, 1, RolloverOptions{}).OldRoot)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.write(t, "root/var/lib/file", "the root")
			for _, p := range []string{"root/var/lib/machines", "root/var/lib/machines/a", "root/srv"} {
				btrfstest.Subvolume(t, f.path(p))
			}
			must(t, os.Chown(f.path("root/srv"), 50, 51))
			must(t, os.Chmod(f.path("root/srv"), 0o750))
			f.boot(t, 2, copied(t, f))
			f.has(t, "root/var/lib/file", "the root")
			f.lacks(t, "root/var/lib/machines/a")
			f.write(t, "root/var/lib/machines/a/file", "x")
			f.write(t, "root/srv/file", "x")
			var st unix.Stat_t
			must(t, unix.Stat(f.path("root/srv"), &st))
			if st.Uid != 50 || st.Gid != 51 || st.Mode != unix.S_IFDIR|0o750 {
				t.Errorf("got %d:%d %o", st.Uid, st.Gid, st.Mode)
			}
		})
	}
}

func TestTwoChangesOfATemplateAtATime(t *testing.T) {
	f := newFixture(t)
	must(t, changeTemplateOf(t, f, "one"))
	first, err := f.StageTemplate(t.Context(), templateLayout, FromTemplate)
	must(t, err)
	other := &fixture{device: f.device, dir: f.dir}
	other.open(t)
	if _, err := other.StageTemplate(t.Context(), templateLayout, FromTemplate); !errors.Is(err, ErrBusy) {
		t.Errorf("a second change at a time: %v", err)
	}
	if _, err := other.RollBackTemplate(t.Context(), templateLayout); !errors.Is(err, ErrBusy) {
		t.Errorf("a rollback meanwhile: %v", err)
	}
	must(t, first.Commit(t.Context()))
	first.Close()
	second, err := other.StageTemplate(t.Context(), templateLayout, FromTemplate)
	must(t, err)
	must(t, second.Drop())
	second.Close()
	f.lacks(t, "template.next")
}

func changeTemplateOf(t *testing.T, f *fixture, version string) error {
	t.Helper()
	if _, found, _ := f.lookup("template"); !found {
		must(t, os.Mkdir(f.path("old_roots"), 0o700))
		n, err := f.StageTemplate(t.Context(), templateLayout, FromRoot)
		must(t, err)
		defer n.Close()
		return n.Commit(t.Context())
	}
	return changeTemplate(version)(f.Filesystem)
}

func TestRollBackTwiceIsNothing(t *testing.T) {
	f := newFixture(t)
	if _, err := f.RollBackTemplate(t.Context(), templateLayout); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("without a template: %v", err)
	}
	must(t, changeTemplateOf(t, f, "made"))
	if _, err := f.RollBackTemplate(t.Context(), templateLayout); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("without a former one: %v", err)
	}
	must(t, changeTemplateOf(t, f, "one"))
	before, err := f.Templates(templateLayout)
	must(t, err)
	after, err := f.RollBackTemplate(t.Context(), templateLayout)
	must(t, err)
	if after.Current.ID != before.Former.ID || after.Former.ID != before.Current.ID {
		t.Errorf("rolled back from %+v to %+v", before, after)
	}
	again, err := f.RollBackTemplate(t.Context(), templateLayout)
	must(t, err)
	if again.Current.ID != before.Current.ID {
		t.Errorf("twice rolled back from %+v to %+v", before, again)
	}
}

func TestWhatIsNotOursInTheTemplatesWay(t *testing.T) {
	f := newFixture(t)
	must(t, changeTemplateOf(t, f, "made"))
	must(t, changeTemplateOf(t, f, "one"))
	must(t, f.kernel.createSubvolume(f.top, "template.next"))
	f.write(t, "template.next/precious", "precious")
	must(t, f.Sync())
	f.write(t, "template.next/more", "more")
	must(t, f.Sync())
	if _, err := f.StageTemplate(t.Context(), templateLayout, FromTemplate); !errors.Is(err, ErrInvalidName) {
		t.Errorf("got %v", err)
	}
	f.has(t, "template.next/precious", "precious")
}

func TestRemoveTemplate(t *testing.T) {
	f := newFixture(t)
	must(t, changeTemplateOf(t, f, "made"))
	must(t, changeTemplateOf(t, f, "one"))
	f.makeDefault(t, "template")
	if err := f.RemoveTemplate(t.Context(), templateLayout); !errors.Is(err, ErrProtected) {
		t.Errorf("the default subvolume: %v", err)
	}
	f.makeDefault(t, "root")
	must(t, f.RemoveTemplate(t.Context(), templateLayout))
	must(t, f.RemoveTemplate(t.Context(), templateLayout))
	for _, gone := range []string{"template", "template.former", "template.next"} {
		f.lacks(t, gone)
	}
	if _, err := f.tryBoot(3, RolloverOptions{Layout: templateLayout}); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("a rollover without a template: %v", err)
	}
	f.has(t, "root/of", "root")
	must(t, f.RemoveTemplate(t.Context(), Layout{Root: "root", OldRoots: "old_roots", Template: "gone/template"}))
}

func TestVolumes(t *testing.T) {
	f := newFixture(t)
	made, isNew, err := f.MakeSubvolume("data")
	must(t, err)
	if again, isNewAgain, err := f.MakeSubvolume("data"); err != nil || !isNew || isNewAgain || again.ID != made.ID {
		t.Errorf("made %+v (%t), then %+v (%t), %v", made, isNew, again, isNewAgain, err)
	}
	must(t, subvolumeIn(f, "data", "inner"))
	must(t, subvolumeIn(f, "data/inner", "most"))
	if inside, err := f.SubvolumesIn("data"); err != nil || len(inside) != 2 || inside[0] != "inner" || inside[1] != "inner/most" {
		t.Errorf("inside are %q, %v", inside, err)
	}
	if err := f.RemoveSubvolume("data", made.ID+1000); !errors.Is(err, ErrStateChanged) {
		t.Errorf("another id: %v", err)
	}
	must(t, f.RemoveSubvolume("data", made.ID))
	must(t, f.RemoveSubvolume("data", made.ID))
	f.lacks(t, "data")
	if gone, err := f.RemoveOldRoots(layout); err != nil || !gone {
		t.Errorf("no old roots: %t, %v", gone, err)
	}
	must(t, f.MakeOldRoots(layout))
	f.boot(t, 1, RolloverOptions{})
	if gone, err := f.RemoveOldRoots(layout); err != nil || gone {
		t.Errorf("with old roots: %t, %v", gone, err)
	}
	if _, err := f.StageTemplate(context.Background(), layout, FromRoot); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("a layout without a template: %v", err)
	}
}

// TestVolumesUnderWay: what is not placed goes with the new template, and a volume that is in use, or that somebody has replaced, stays.
func TestVolumesUnderWay(t *testing.T) {
	f := newFixture(t)
	must(t, changeTemplateOf(t, f, "made"))
	former, err := f.SubvolumeAt("persist")
	must(t, err)
	stage := func() *NewTemplate {
		t.Helper()
		n, err := f.StageTemplate(t.Context(), templateLayout, FromTemplate)
		must(t, err)
		return n
	}
	mounted := filepath.Join(t.TempDir(), "persist")
	mount := func() { t.Helper(); btrfstest.Mount(t, f.device, mounted, "subvol=persist") }

	n := stage()
	if _, err := n.StageVolume("persist", former.ID+1000); !errors.Is(err, ErrStateChanged) {
		t.Errorf("another id: %v", err)
	}
	mount()
	if _, err := n.StageVolume("persist", former.ID); !errors.Is(err, ErrProtected) {
		t.Errorf("one that is mounted: %v", err)
	}
	btrfstest.Unmount(t, mounted)
	staged, err := n.StageVolume("persist", former.ID)
	must(t, err)
	f.write(t, staged+"/of", "another")
	mount()
	if err := n.PlaceVolume("persist", former.ID); !errors.Is(err, ErrProtected) {
		t.Errorf("one that was mounted since: %v", err)
	}
	btrfstest.Unmount(t, mounted)
	n.Close() // killed
	f.has(t, "persist/of", "persist")

	n = stage()
	defer n.Close()
	f.lacks(t, staged)
	_, err = n.StageVolume("persist", former.ID)
	must(t, err)
	f.write(t, staged+"/of", "another")
	must(t, f.Sync())
	before, err := f.SubvolumeAt(staged)
	must(t, err)
	must(t, n.PlaceVolume("persist", former.ID))
	f.has(t, "persist/of", "another")
	f.lacks(t, staged)
	if after, err := f.SubvolumeAt("persist"); err != nil || after.ID != before.ID || after.ChangedIn != before.ChangedIn {
		t.Errorf("%+v has become %+v, %v", before, after, err)
	}
}

func subvolumeIn(f *fixture, dir, name string) error {
	d, err := openBeneath(f.top, dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return f.kernel.createSubvolume(d, name)
}
