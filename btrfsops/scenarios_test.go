package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// scenario is an operation that power cuts interrupt.
type scenario struct {
	name    string
	layouts []Layout
	prepare func(t *testing.T, f *fixture)
	work    func(fs *Filesystem) error
	doomed  []string // markers that the work deletes: they may be gone
}

// markers are the contents of the files that tell roots apart. Every one that is not doomed must stay.
func (s scenario) markers() []string {
	all := []string{"former", "older", "oldest", "home"}
	return slices.DeleteFunc(all, func(m string) bool { return slices.Contains(s.doomed, m) })
}

var (
	templateLayout = Layout{Root: "root", OldRoots: "old_roots", Template: "template"}
	homeLayout     = Layout{Root: "home", OldRoots: "old_homes"}
)

// workBoot is the boot during which the work is done.
const workBoot = "boot-work"

func scenarios() []scenario {
	rollOver := func(layouts ...Layout) func(fs *Filesystem) error {
		return func(fs *Filesystem) error {
			for _, l := range layouts {
				if _, err := fs.Rollover(context.Background(), RolloverOptions{Layout: l, BootID: workBoot, Now: now}); err != nil {
					return err
				}
			}
			return nil
		}
	}
	stopAfter := func(call string, n int, l Layout) func(t *testing.T, f *fixture) {
		return func(t *testing.T, f *fixture) { t.Helper(); f.interrupt(t, l, call, n) }
	}
	nothing := func(*testing.T, *fixture) {}
	remove := func(count int) func(fs *Filesystem) error {
		return func(fs *Filesystem) error { return removeOldest(fs, count) }
	}
	makeDefault := func(t *testing.T, f *fixture) { t.Helper(); f.makeDefault(t, "root") }
	templated := []Layout{templateLayout}
	one, both := []Layout{layout}, []Layout{layout, homeLayout}
	return []scenario{
		{"rollover to an empty root", one, nothing, rollOver(layout), nil},
		{"rollover from a template", []Layout{templateLayout}, nothing, rollOver(templateLayout), nil},
		{"rollover after one that made only the subvolume", one, stopAfter("create subvolume", 1, layout), rollOver(layout), nil},
		{"rollover after one that stopped before the exchange", []Layout{templateLayout}, stopAfter("set attribute", 3, templateLayout), rollOver(templateLayout), nil},
		{"rollover after one that stopped after the exchange", one, stopAfter("rename", 1, layout), rollOver(layout), nil},
		{"rollover of two mount points", both, nothing, rollOver(layout, homeLayout), nil},
		{"rollover of two mount points, each after one that was stopped", both, func(t *testing.T, f *fixture) {
			t.Helper()
			f.interrupt(t, layout, "set attribute", 2)
			f.interrupt(t, homeLayout, "rename", 1)
		}, rollOver(layout, homeLayout), nil},
		{"rollover of the default subvolume", one, makeDefault, rollOver(layout), nil},
		{"rollover of the default subvolume after one that stopped before it followed", one, func(t *testing.T, f *fixture) {
			t.Helper()
			makeDefault(t, f)
			f.interrupt(t, layout, "rename", 1)
		}, rollOver(layout), nil},
		{"snapshot", one, nothing, func(fs *Filesystem) error {
			_, err := fs.Snapshot(context.Background(), layout, SnapshotOptions{Label: "label", BootID: workBoot, Now: now})
			return err
		}, nil},
		{"delete one with nested subvolumes", one, nothing, remove(1), []string{"oldest"}},
		{"prune two", one, nothing, remove(2), []string{"oldest", "older"}},
		{"template, the first change", templated, nothing, changeTemplate("new"), nil},
		{"template, with a former one to let go", templated, twoTemplates, changeTemplate("new"), nil},
		{"template after a change that stopped before the exchange", templated, stopChange("set flags", 1), changeTemplate("new"), nil},
		{"template after a change that stopped after the exchange", templated, stopChange("rename", 1), changeTemplate("new"), nil},
		{"template after a change that stopped with the one before on its way out", templated, stopChange("rename", 2), changeTemplate("new"), nil},
		{"template rolled back", templated, twoTemplates, func(fs *Filesystem) error {
			_, err := fs.RollBackTemplate(context.Background(), templateLayout)
			return err
		}, nil},
		{"template with a volume that takes the place of another", templated, func(t *testing.T, f *fixture) {
			t.Helper()
			btrfstest.Subvolume(t, f.path("persist/nested"))
		}, changeWithVolume, nil},
		{"template after one with a volume that stopped after the volume took its place", templated, func(t *testing.T, f *fixture) {
			t.Helper()
			f.stopAfter(t, "rename", 1, func() error { return changeWithVolume(f.Filesystem) })
		}, changeTemplate("new"), nil},
		{"volume in a directory removed", one, func(t *testing.T, f *fixture) {
			t.Helper()
			must(t, os.Mkdir(f.path("volumes"), 0o755))
			_, _, err := f.MakeSubvolume("volumes/data")
			must(t, err)
		}, func(fs *Filesystem) error {
			info, err := fs.SubvolumeAt("volumes/data")
			if err != nil {
				return err
			}
			return fs.RemoveSubvolume("volumes/data", info.ID)
		}, nil},
	}
}

// twoTemplates are a template and a former one: "before" and "first".
func twoTemplates(t *testing.T, f *fixture) {
	t.Helper()
	must(t, changeTemplate("first")(f.Filesystem))
	must(t, changeTemplate("before")(f.Filesystem))
}

// stopChange changes the template twice, and stops a third change after the n-th call of a kind.
func stopChange(call string, n int) func(t *testing.T, f *fixture) {
	return func(t *testing.T, f *fixture) {
		t.Helper()
		twoTemplates(t, f)
		f.stopAfter(t, call, n, func() error { return changeTemplate("stopped")(f.Filesystem) })
	}
}

// changeTemplate makes a new template that says which it is, with a subvolume inside, as programs make them.
func changeTemplate(version string) func(fs *Filesystem) error {
	return func(fs *Filesystem) error {
		n, err := fs.StageTemplate(context.Background(), templateLayout, FromTemplate)
		if err != nil {
			return err
		}
		defer n.Close()
		if err := os.WriteFile(n.Dir()+"/version", []byte(strings.Repeat(version+"\n", versionLines)), 0o644); err != nil {
			return err
		}
		if err := fs.kernel.createSubvolume(n.dir, "nested-"+version); err != nil {
			return err
		}
		return n.Commit(context.Background())
	}
}

// changeWithVolume makes a new template with a volume, as a set-up does.
func changeWithVolume(fs *Filesystem) error {
	n, err := fs.StageTemplate(context.Background(), templateLayout, FromTemplate)
	if err != nil {
		return err
	}
	defer n.Close()
	info, err := fs.SubvolumeAt("persist")
	if err != nil {
		return err
	}
	staged, err := n.StageVolume("persist", info.ID)
	if err != nil {
		return err
	}
	text := []byte(strings.Repeat("new\n", versionLines))
	for name, text := range map[string][]byte{staged + "/of": []byte("persist"), staged + "/version": text, n.Path() + "/version": text} {
		if err := os.WriteFile(fs.Top()+"/"+name, text, 0o644); err != nil {
			return err
		}
	}
	if err := n.PlaceVolume("persist", info.ID); err != nil {
		return err
	}
	return n.Commit(context.Background())
}

// versionLines make the file that says it larger than what btrfs keeps in its trees.
const versionLines = 1000

// removeOldest deletes the oldest roots.
func removeOldest(fs *Filesystem, count int) error {
	roots, err := fs.ListRoots(layout)
	if err != nil {
		return err
	}
	var ids []SubvolumeID
	for _, root := range roots[:count] {
		ids = append(ids, root.ID)
	}
	report, err := fs.Delete(context.Background(), Guards{Layout: layout}, ids, nil)
	if err == nil && len(report.Failed) > 0 {
		err = report.Failed[0].Err
	}
	return err
}

// interrupt begins a rollover and stops it with an error after the n-th call of a kind, as if the process had been killed.
func (f *fixture) interrupt(t *testing.T, l Layout, call string, n int) {
	t.Helper()
	f.stopAfter(t, call, n, func() error {
		_, err := f.tryBoot(8, RolloverOptions{Layout: l})
		return err
	})
}

// stopAfter does some work, stopped with an error after the n-th call of a kind, as if the process had been killed.
func (f *fixture) stopAfter(t *testing.T, call string, n int, work func() error) {
	t.Helper()
	stop := fmt.Errorf("stopped after %s", call)
	f.kernel.step = func(c string, done bool) error {
		if c != call || !done {
			return nil
		}
		if n--; n > 0 {
			return nil
		}
		f.kernel.step = func(string, bool) error { return stop }
		return stop
	}
	if err := work(); !errors.Is(err, stop) {
		t.Fatalf("nothing stopped after %s: %v", call, err)
	}
	f.kernel.step = nil
}

// What stands at root.next is a former root unless it is surely one that nobody used: ids and marks decide.
func TestWhatARolloverLeft(t *testing.T) {
	const pristine, used = 7, 8 // the transaction of the last change; each was made in 7
	for _, row := range []struct {
		what     string
		root     SubvolumeID // 0: there is none
		replaces string      // as it says
		next     SubvolumeID
		changed  uint64
		staged   bool
		want     Kind
	}{
		{"the root replaced it", 300, "256", 256, used, false, KindOld},
		{"the root replaced it, whatever its mark", 300, "256", 256, pristine, true, KindOld},
		{"the root replaced another, and it was to replace the root", 300, "256", 301, used, true, KindDiscarded},
		{"made for the root, and marked", 256, "", 301, used, true, KindDiscarded},
		{"made for no root, and marked", 0, "", 301, used, true, KindDiscarded},
		{"just made for the root", 256, "", 301, pristine, false, KindDiscarded},
		{"just made for no root", 0, "", 301, pristine, false, KindDiscarded},
		{"made after the root, and used", 256, "", 301, used, false, KindOld},
		{"made before the root, and never changed", 300, "", 256, pristine, false, KindOld},
		{"the root says that it replaced none", 300, "0", 256, used, false, KindOld},
		{"the root says nonsense", 300, "256x", 301, pristine, false, KindDiscarded},
	} {
		var root *former
		if row.root != 0 {
			root = &former{Subvolume{ID: row.root}, attributes{attrReplaces: row.replaces}}
		}
		marks := attributes{}
		if row.staged {
			marks[attrStaged] = formatID(row.next)
		}
		if got := judge(root, Subvolume{ID: row.next, CreatedIn: pristine, ChangedIn: row.changed}, marks); got != row.want {
			t.Errorf("%s: %s, want %s", row.what, got, row.want)
		}
	}
}
