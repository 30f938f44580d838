package btrfsops

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/writelog"
)

// samplesEnv raises the number of sampled cuts between two flushes, for long runs.
const samplesEnv = "IMPERMANENCE_POWERCUT_SAMPLES"

const defaultSamples = 60

// A power cut may come after every write that the file system sends to its device. Each scenario records the writes of one
// operation; each cut is then mounted, booted, and checked.
func TestPowerCuts(t *testing.T) {
	var total atomic.Int64
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				total.Add(int64(s.run(t)))
			})
		}
	})
	t.Logf("%d cut points, all booted and checked", total.Load())
}

// run records the work and tries every cut; it returns how many there were.
func (s scenario) run(t *testing.T) int {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("powercut", dir, "tmpfs", 0, "size=2g"))
	t.Cleanup(func() { btrfstest.Unmount(t, dir) })
	base := filepath.Join(dir, "base")
	s.makeBase(t, base)
	recorded := filepath.Join(dir, "recorded")
	copySparse(t, base, recorded)
	log := writelog.Record(t, recorded, func(device string, done func()) {
		fs, err := OpenDevice(device)
		must(t, err)
		must(t, s.work(fs))
		done()
		must(t, fs.Close())
	})
	samples := defaultSamples
	if strings.HasPrefix(s.name, "template") { // many flushes, each with its own samples
		samples /= 4
	}
	if n, err := strconv.Atoi(os.Getenv(samplesEnv)); err == nil {
		samples = n
	}
	seed := fnv.New64()
	_, _ = io.WriteString(seed, s.name)
	cuts := log.Cuts(samples, rand.New(rand.NewPCG(seed.Sum64(), 1)))
	for i, cut := range cuts {
		// A file of its own for each: a process that is being forked can hold the mount before open a little longer.
		image := filepath.Join(dir, fmt.Sprint("cut", i))
		copySparse(t, base, image)
		must(t, cut.Apply(image))
		if !t.Run("cut", func(t *testing.T) { s.boot(t, image) }) {
			t.Fatalf("the cut was %s", cut.What)
		}
		must(t, os.Remove(image))
	}
	durable := filepath.Join(dir, "durable")
	copySparse(t, base, durable)
	must(t, log.Durable().Apply(durable))
	t.Run("durable", func(t *testing.T) { s.isDone(t, durable) })
	t.Logf("%d requests, %d cuts", len(log), len(cuts))
	return len(cuts)
}

// makeBase makes the file system before the work: three generations of roots, each with a marker and nested subvolumes.
func (s scenario) makeBase(t *testing.T, image string) {
	t.Helper()
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 128<<20))
	btrfstest.Run(t, "mkfs.btrfs", "--quiet", image)
	made := t.Run("base", func(t *testing.T) { // all is unmounted and detached at the end of this
		f := &fixture{device: btrfstest.Attach(t, image), dir: filepath.Join(t.TempDir(), "top")}
		btrfstest.Mount(t, f.device, f.dir, "subvolid=5")
		for _, name := range []string{"root", "home", "persist", "nix", "template"} {
			btrfstest.Subvolume(t, f.path(name))
			f.write(t, name+"/of", name)
		}
		f.open(t)
		f.write(t, "home/marker", "home")
		f.write(t, "root/marker", "oldest")
		f.withNested(t)
		f.boot(t, 1, RolloverOptions{})
		f.write(t, "root/marker", "older")
		f.boot(t, 2, RolloverOptions{})
		f.write(t, "root/marker", "newest but one")
		f.boot(t, 3, RolloverOptions{})
		f.write(t, "root/marker", "former")
		s.prepare(t, f)
		must(t, f.Close())
	})
	if !made {
		t.FailNow()
	}
}

// boot mounts what a cut left, boots it, finishes what was begun, and checks the promises.
func (s scenario) boot(t *testing.T, image string) {
	t.Helper()
	f := &fixture{device: btrfstest.Attach(t, image)}
	f.open(t)
	f.dir = procPath(f.top)
	for _, l := range s.layouts {
		if _, found, _ := f.lookup(l.Root); !found {
			t.Errorf("there is no bootable %s", l.Root)
		}
	}
	fallback := f.bootableByDefault(t)
	for _, l := range s.layouts {
		f.boot(t, 9, RolloverOptions{Layout: l})
		f.lacks(t, l.Root+stagedSuffix)
		f.lacks(t, l.Root+"/marker")
	}
	f.has(t, "persist/of", "persist")
	f.version(t, "persist") // is not torn
	f.has(t, "nix/of", "nix")
	f.has(t, "template/of", "template")
	f.templateIsWhole(t)
	if now, err := f.DefaultSubvolume(); err != nil || fallback && now != f.id(t, "root") {
		t.Errorf("the default subvolume is %d (%v), the root %d", now, err, f.id(t, "root"))
	}
	f.finishDeletions(t)
	found := f.findMarkers(t)
	for _, m := range s.markers() {
		if m == "home" && !slices.Contains(s.layouts, homeLayout) {
			found[m]++ // its root was not touched
		}
		if found[m] != 1 {
			t.Errorf("the root marked %q is there %d times", m, found[m])
		}
	}
	must(t, f.Close())
	btrfstest.Check(t, image)
}

// bootableByDefault says whether a mount without subvol= is to boot. What it boots must be the root, or that which the
// fresh root was exchanged with.
func (f *fixture) bootableByDefault(t *testing.T) bool {
	t.Helper()
	fallback, err := f.DefaultSubvolume()
	must(t, err)
	root, _, _ := f.lookup("root")
	staged, _, _ := f.lookup("root.next")
	a, err := f.attributesOf(root)
	must(t, err)
	replaced, _ := a.replaces()
	switch fallback {
	case TopLevelID:
		return false
	case root:
	case staged:
		if staged != replaced {
			t.Errorf("the default subvolume is %d, a staged root", fallback)
		}
	default:
		t.Errorf("the default subvolume is %d, the root %d", fallback, root)
	}
	return true
}

// templateIsWhole fails the test unless the template, and the one before, is one that was committed, and can be changed.
func (f *fixture) templateIsWhole(t *testing.T) {
	t.Helper()
	is, was := f.version(t, "template"), f.version(t, "template"+templateFormer)
	before := map[string][]string{"": {""}, "first": {"", "before"}, "before": {"first"}, "stopped": {"before"}, "new": {"", "before", "stopped"}}
	if former, known := before[is]; !known || !slices.Contains(former, was) {
		// Between the exchange and the putting away, what was before stands at template.next.
		if next := f.version(t, "template"+templateStaged); !slices.Contains(former, next) {
			t.Errorf("the template is %q, the one before %q, and beside them is %q", is, was, next)
		}
	}
	n, err := f.StageTemplate(context.Background(), templateLayout, FromTemplate)
	must(t, err)
	must(t, n.Drop())
	n.Close()
	f.lacks(t, "template"+templateStaged)
	if now := f.version(t, "template"); now != is {
		t.Errorf("putting things right changed the template from %q to %q", is, now)
	}
	if now := f.version(t, "template"+templateFormer); !slices.Contains(before[is], now) {
		t.Errorf("after putting things right the one before %q is %q", is, now)
	}
}

// version is what a template says it is; "" for one that was never changed, or is not there.
func (f *fixture) version(t *testing.T, template string) string {
	t.Helper()
	text, err := os.ReadFile(f.path(template + "/version"))
	if os.IsNotExist(err) {
		return ""
	}
	must(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	if string(text) != strings.Repeat(first+"\n", versionLines) {
		t.Errorf("%s is torn", template)
	}
	return first
}

// isDone fails the test unless the work took effect on the image.
func (s scenario) isDone(t *testing.T, image string) {
	t.Helper()
	f := &fixture{device: btrfstest.Attach(t, image)}
	f.open(t)
	f.dir = procPath(f.top)
	for _, root := range f.list(t) {
		if root.Deleting || root.Kind == KindDiscarded && strings.HasPrefix(root.Name, unfinishedPrefix) {
			t.Errorf("half done: %+v", root)
		}
		marker, _ := os.ReadFile(f.path(root.Path + "/marker"))
		if slices.Contains(s.doomed, string(marker)) {
			t.Errorf("not deleted: %+v", root)
		}
	}
	if strings.HasPrefix(s.name, "template") {
		want := "new"
		if s.name == "template rolled back" {
			want = "first"
		}
		if got := f.version(t, "template"); got != want {
			t.Errorf("the template is %q, not %q", got, want)
		}
		f.lacks(t, "template"+templateStaged)
	}
	if got := f.version(t, "persist"); strings.Contains(s.name, "volume that") && got != "new" {
		t.Errorf("the volume is %q", got)
	}
	f.lacks(t, "volumes/data")
	if !strings.HasPrefix(s.name, "rollover") {
		return
	}
	if fallback, err := f.DefaultSubvolume(); err != nil || fallback != TopLevelID && fallback != f.id(t, "root") {
		t.Errorf("the default subvolume is %d (%v), the root %d", fallback, err, f.id(t, "root"))
	}
	for _, l := range s.layouts {
		a, err := f.attributesOf(f.id(t, l.Root))
		must(t, err)
		if a[attrBootID] != workBoot {
			t.Errorf("%s was not rolled over", l.Root)
		}
		f.lacks(t, l.Root+stagedSuffix)
	}
}

// finishDeletions deletes what is partly deleted or was never a root, as the daemon does, and it must go.
func (f *fixture) finishDeletions(t *testing.T) {
	t.Helper()
	var ids []SubvolumeID
	for _, root := range f.list(t) {
		if root.Deleting || root.Kind == KindDiscarded {
			ids = append(ids, root.ID)
		}
	}
	report := f.delete(t, ids...)
	if len(report.Failed) > 0 {
		t.Errorf("what was begun can't be finished: %+v", report.Failed)
	}
}

// findMarkers counts the markers of the old roots. A snapshot is a copy and does not count.
func (f *fixture) findMarkers(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, l := range []Layout{layout, homeLayout} {
		roots, err := f.ListRoots(l)
		must(t, err)
		for _, root := range roots {
			if root.Kind == KindSnapshot {
				continue
			}
			if marker, err := os.ReadFile(f.path(root.Path + "/marker")); err == nil {
				found[string(marker)]++
			}
		}
	}
	return found
}

// copySparse copies the data of an image, not its holes.
func copySparse(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	must(t, err)
	defer func() { _ = out.Close() }()
	info, err := in.Stat()
	must(t, err)
	must(t, out.Truncate(info.Size()))
	for at := int64(0); ; {
		start, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if err != nil { // ENXIO: no data is left
			return
		}
		end, err := unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		must(t, err)
		_, err = io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start))
		must(t, err)
		at = end
	}
}
