package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// sequencesEnv raises the number of random sequences, for long runs.
const sequencesEnv = "IMPERMANENCE_SEQUENCES"

const (
	defaultSequences = 60
	sequenceLength   = 40
)

// Random sequences of our operations, crashes in the middle of them, and other programs' interference, against a small
// model: which markers must be reachable, and which foreign things must be untouched. A sequence is repeated by its name.
func TestRandomSequences(t *testing.T) {
	sequences := defaultSequences
	if n, err := strconv.Atoi(os.Getenv(sequencesEnv)); err == nil {
		sequences = n
	}
	for seed := range sequences {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
			w := &world{T: t, r: rand.New(rand.NewPCG(uint64(seed), 1)), fixture: newFixture(t), kept: map[string]string{}}
			w.foreign("persist/of", "nix/of")
			w.stampRoot()
			for range sequenceLength {
				o := operations[w.r.IntN(len(operations))]
				w.Log(o.name)
				o.do(w)
				w.check()
			}
		})
	}
}

// operations are what a sequence is drawn from.
var operations = []struct {
	name string
	do   func(*world)
}{
	{"boot", (*world).bootOnce},
	{"boot again", (*world).bootAgain},
	{"crash during a rollover", (*world).crash},
	{"crash during a rollover", (*world).crash},
	{"snapshot", (*world).snapshot},
	{"delete", (*world).deleteSome},
	{"delete", (*world).deleteSome},
	{"pin", (*world).pin},
	{"ask for the next boot", (*world).next},
	{"mount an old root", (*world).mountOld},
	{"unmount", (*world).unmount},
	{"nested subvolume", (*world).nest},
	{"foreign in old_roots", (*world).interfere},
	{"rename an old root", (*world).rename},
	{"restore by hand", (*world).restoreByHand},
	{"lose the root", (*world).loseRoot},
}

// world is the file system with what the model knows of it.
type world struct {
	*testing.T
	r *rand.Rand
	*fixture
	boots   int
	marks   int
	kept    map[string]string // marker -> where it was last seen; it must be somewhere
	others  []string          // foreign files that must stay
	mounts  []string
	mounted map[SubvolumeID]bool
}

func (w *world) foreign(names ...string) { w.others = append(w.others, names...) }

// stampRoot puts a marker nobody else has into the root.
func (w *world) stampRoot() {
	w.marks++
	mark := fmt.Sprint("mark-", w.marks)
	w.write(w.T, "root/marker", mark)
	w.kept[mark] = "root"
}

// roll does a rollover of a new boot.
func (w *world) roll() (RolloverReport, error) {
	w.boots++
	return w.Rollover(context.Background(), RolloverOptions{
		Layout: layout, BootID: fmt.Sprint("boot-", w.boots), Now: now.Add(time.Duration(w.boots) * time.Hour),
	})
}

func (w *world) bootOnce() {
	if report, err := w.roll(); err != nil || report.Fresh != w.id(w.T, "root") {
		w.Errorf("boot: %+v, %v", report, err)
	}
	w.lacks(w.T, "root/marker")
	w.stampRoot()
}

func (w *world) bootAgain() {
	report, err := w.Rollover(context.Background(), RolloverOptions{Layout: layout, BootID: fmt.Sprint("boot-", w.boots), Now: now})
	if err != nil || (report.Fresh != 0) == report.Already {
		w.Errorf("second rollover of a boot: %+v, %v", report, err)
	}
	if !report.Already {
		w.stampRoot()
	}
}

func (w *world) crash() {
	reached := stopAt(w.Filesystem, w.r.IntN(41), func() error { return errInjected })
	_, err := w.roll()
	w.kernel.step = nil
	if *reached && err == nil {
		w.Error("a failed step went unnoticed")
	}
	if _, err := os.Stat(w.path("root")); err != nil {
		w.Errorf("a crash cost the root: %v", err)
	}
	if _, err := os.Stat(w.path("root/marker")); err != nil {
		w.stampRoot()
	}
}

func (w *world) snapshot() {
	w.marks++
	if _, err := w.Snapshot(context.Background(), layout, SnapshotOptions{Now: now.Add(time.Duration(w.marks) * time.Minute)}); err != nil {
		w.Errorf("snapshot: %v", err)
	}
}

// some draws one of the old roots.
func (w *world) some() (OldRoot, bool) {
	roots := w.list(w.T)
	if len(roots) == 0 {
		return OldRoot{}, false
	}
	return roots[w.r.IntN(len(roots))], true
}

func (w *world) deleteSome() {
	root, found := w.some()
	if !found {
		return
	}
	mark, _ := os.ReadFile(w.path(root.Path + "/marker"))
	next, err := w.NextBoot(layout)
	must(w.T, err)
	guarded := newest(w.list(w.T))
	report := w.delete(w.T, root.ID)
	gone := len(report.Deleted) == 1
	forbidden := root.Pinned || w.mounted[root.ID] || root.Name == next || guarded[root.ID]
	if gone == forbidden {
		w.Errorf("deleted: %v, forbidden: %v, %+v, %+v", gone, forbidden, root, report)
	}
	if gone && root.Kind != KindSnapshot {
		delete(w.kept, string(mark))
	}
}

func (w *world) pin() {
	if root, found := w.some(); found {
		must(w.T, w.SetPinned(layout, root.ID, !root.Pinned))
	}
}

func (w *world) next() {
	if root, found := w.some(); found && root.Kind != KindDiscarded && !root.Deleting {
		must(w.T, w.SetNextBoot(layout, root.Name))
	}
}

func (w *world) mountOld() {
	root, found := w.some()
	if !found || len(w.mounts) > 2 {
		return
	}
	dir := filepath.Join(w.TempDir(), "mounted")
	btrfstest.Mount(w.T, w.device, dir, fmt.Sprint("subvolid=", root.ID))
	w.mounts = append(w.mounts, dir)
	if w.mounted == nil {
		w.mounted = map[SubvolumeID]bool{}
	}
	w.mounted[root.ID] = true
}

func (w *world) unmount() {
	for _, dir := range w.mounts {
		must(w.T, unix.Unmount(dir, 0))
	}
	w.mounts, w.mounted = nil, nil
}

func (w *world) nest() {
	w.marks++
	btrfstest.Subvolume(w.T, w.path(fmt.Sprint("root/nested-", w.marks)))
}

func (w *world) interfere() {
	if w.boots == 0 {
		return
	}
	w.marks++
	name := fmt.Sprint("old_roots/foreign-", w.marks)
	switch w.r.IntN(3) {
	case 0:
		w.write(w.T, name+"/file", name+"/file")
		w.foreign(name + "/file")
	case 1:
		must(w.T, os.MkdirAll(w.path("old_roots"), 0o700))
		must(w.T, os.Symlink("../persist", w.path(name)))
	case 2:
		must(w.T, os.MkdirAll(w.path(name), 0o700))
		btrfstest.Subvolume(w.T, w.path(name+"/inner"))
		w.write(w.T, name+"/inner/file", name+"/inner/file")
		w.foreign(name + "/inner/file")
	}
}

func (w *world) rename() {
	root, found := w.some()
	next, err := w.NextBoot(layout)
	must(w.T, err)
	if !found || root.Name == next || root.ReadOnly {
		return
	}
	w.marks++
	must(w.T, os.Rename(w.path(root.Path), w.path(fmt.Sprint("old_roots/renamed-", w.marks))))
}

// restoreByHand is what people do: the root is set aside, a copy of an old root takes its place.
func (w *world) restoreByHand() {
	root, found := w.some()
	if _, err := os.Stat(w.path("root")); !found || err != nil {
		return
	}
	w.marks++
	must(w.T, os.Rename(w.path("root"), w.path(fmt.Sprint("old_roots/aside-", w.marks))))
	btrfstest.Run(w.T, "btrfs", "subvolume", "snapshot", w.path(root.Path), w.path("root"))
	w.stampRoot()
}

func (w *world) loseRoot() {
	if _, err := os.Stat(w.path("root")); err != nil {
		return
	}
	w.marks++
	must(w.T, os.Rename(w.path("root"), w.path(fmt.Sprint("lost-", w.marks))))
	mark, err := os.ReadFile(w.path(fmt.Sprint("lost-", w.marks, "/marker")))
	must(w.T, err)
	delete(w.kept, string(mark))
	w.bootOnce()
}

// check is run after every operation.
func (w *world) check() {
	if _, found, _ := w.lookup("root"); !found {
		w.Error("there is no root")
	}
	found := map[string]bool{}
	for _, place := range append(globs(w.path("old_roots/*/marker")), w.path("root/marker"), w.path("root.next/marker")) {
		if mark, err := os.ReadFile(place); err == nil {
			found[string(mark)] = true
		}
	}
	for _, mark := range slices.Sorted(maps.Keys(w.kept)) {
		if !found[mark] {
			w.Errorf("%s is nowhere", mark)
		}
	}
	for _, name := range w.others {
		if _, err := os.Stat(w.path(name)); errors.Is(err, os.ErrNotExist) {
			w.Errorf("%s is gone", name)
		}
	}
	if w.Failed() {
		w.FailNow()
	}
}

func globs(pattern string) []string {
	names, _ := filepath.Glob(pattern) // the pattern is constant and right
	return names
}
