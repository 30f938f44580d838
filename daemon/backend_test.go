package daemon_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestSnapshotIsListed(t *testing.T) {
	m := newMachine(t)
	d := m.start(t)
	must(t, os.WriteFile(filepath.Join(m.sysroot, "file"), []byte("kept"), 0o644))
	id, err := d.CreateSnapshot(t.Context(), anybody, "before the upgrade")
	job := finish(t, d, id, err)
	if job.Result != dbus.ResultDone || job.Operation != "create-snapshot" {
		t.Fatalf("%s %s: %v", job.Operation, job.Result, job.Error)
	}
	name, _ := job.Details["name"].(string)
	r := roots(t, d)[name]
	if r.Label != "before the upgrade" || r.Kind != "snapshot" || !r.ReadOnly || !r.RolledOver.Equal(now) || r.BootID == "" {
		t.Errorf("listed as %+v", r)
	}
	if job.Details["root"] != dbus.RootPath(r.ID) {
		t.Errorf("the job made %v, listed is %d", job.Details["root"], r.ID)
	}
	data, err := os.ReadFile(filepath.Join(m.top, r.Path, "file"))
	if string(data) != "kept" {
		t.Errorf("in the snapshot: %q, %v", data, err)
	}
}

// The main story: at 31 days an old root goes with what is nested in it, and nothing beside it.
func TestPruneAtThirtyOneDays(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[retention]\nkeepWithin = \"30d\"\nkeepLast = 1\n")
	old := m.oldRoot(t, 31*day, "var/lib/machines/a", "var/lib/portables", "var/lib/machines/a/inner")
	pinned := m.oldRoot(t, 40*day)
	setAttribute(t, filepath.Join(m.top, "old_roots", pinned), "pinned", "1")
	young := m.oldRoot(t, 29*day, "srv")
	newest := m.oldRoot(t, 0)
	must(t, os.Mkdir(filepath.Join(m.top, "old_roots", "plain directory"), 0o755))
	d := m.start(t)

	plan, err := d.PlanPrune(t.Context(), dbus.PruneOptions{})
	must(t, err)
	got := map[string]string{}
	for _, item := range plan {
		got[item.Name] = map[bool]string{true: "remove: ", false: "keep: "}[item.Remove] + strings.Join(item.Reasons, ", ")
	}
	want := map[string]string{
		pinned: "keep: pinned", old: "remove: kept by no rule", young: "keep: within 30d", newest: "keep: newest, within 30d, last",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(5, len(m.rolledOver(t))); diff != "" {
		t.Errorf("planning changed something: %s", diff)
	}

	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{Wait: true})
	job := finish(t, d, id, err)
	if job.Result != dbus.ResultDone || job.Progress != 1 || job.ItemsDone != 1 || job.ItemsTotal != 1 {
		t.Fatalf("ended as %+v", job)
	}
	if diff := cmp.Diff(dbus.Details{"deleted": []string{old}, "subvolumes": uint64(4)}, job.Details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	left := []string{pinned, young, newest, "plain directory"}
	slices.Sort(left)
	if diff := cmp.Diff(left, m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	for _, beside := range []string{"root", "persist", "nix"} {
		if _, err := os.Stat(filepath.Join(m.top, beside)); err != nil {
			t.Error(err)
		}
	}
	if got := d.Manager().LastPrune; !got.Equal(now) {
		t.Errorf("last prune %v", got)
	}
	if got := m.start(t).Manager().LastPrune; !got.Equal(now) {
		t.Errorf("last prune after a restart %v", got)
	}
}

// What is asked for once replaces what is configured, as long as it lasts.
func TestPruneOverrides(t *testing.T) {
	m := newMachine(t)
	oldest := m.oldRoot(t, 4*day)
	for age := range 4 {
		m.oldRoot(t, time.Duration(3-age)*day)
	}
	d := m.start(t)
	must(t, d.SetLabel(t.Context(), roots(t, d)[oldest].ID, "works"))
	count := func(o dbus.PruneOptions) (removed int) {
		plan, err := d.PlanPrune(t.Context(), o)
		must(t, err)
		for _, item := range plan {
			if item.Remove {
				removed++
			}
		}
		return removed
	}
	two, window := uint32(2), day
	for _, c := range []struct {
		options dbus.PruneOptions
		want    int
	}{
		{dbus.PruneOptions{}, 0}, // no policy keeps everything
		{dbus.PruneOptions{KeepLast: &two}, 3},
		{dbus.PruneOptions{KeepDaily: &two}, 3},
		{dbus.PruneOptions{KeepWithin: &window, KeepLast: &two}, 3},
		{dbus.PruneOptions{KeepYearly: &two}, 3},
		{dbus.PruneOptions{KeepLabels: []string{"works"}}, 3},
		{dbus.PruneOptions{KeepLabels: []string{}}, 0},
		{dbus.PruneOptions{MinFree: &dbus.MinFree{Percent: 100}}, 4},
		{dbus.PruneOptions{MinFree: &dbus.MinFree{Bytes: 1}}, 0},
		{dbus.PruneOptions{KeepLast: &two, MinFree: &dbus.MinFree{Bytes: 1 << 60}}, 3},
	} {
		if got := count(c.options); got != c.want {
			t.Errorf("%+v removes %d, want %d", c.options, got, c.want)
		}
	}
}

func TestProtectedRootsAreRefused(t *testing.T) {
	m := newMachine(t)
	pinned, mounted, next, free, newest := m.oldRoot(t, 5*day), m.oldRoot(t, 4*day), m.oldRoot(t, 3*day), m.oldRoot(t, 2*day), m.oldRoot(t, day)
	btrfstest.Mount(t, m.device, filepath.Join(t.TempDir(), "mounted"), "subvol=old_roots/"+mounted)
	d := m.start(t)
	list := roots(t, d)
	must(t, d.SetPinned(t.Context(), list[pinned].ID, true))
	must(t, d.SetNextBoot(t.Context(), fmt.Sprint(list[next].ID)))

	list = roots(t, d)
	reasons := map[string][]string{}
	for name, r := range list {
		reasons[name] = r.ProtectReasons
	}
	want := map[string][]string{pinned: {"pinned"}, mounted: {"in-use"}, next: {"next"}, free: {}, newest: {"newest"}}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	for name, why := range want {
		if len(why) == 0 {
			continue
		}
		_, err := d.DeleteRoots(t.Context(), anybody, []uint64{list[free].ID, list[name].ID})
		wantError(t, name, err, dbus.ErrProtected)
		if err != nil && !strings.Contains(err.Error(), why[0]) {
			t.Errorf("%v does not say %q", err, why[0])
		}
	}
	_, err := d.DeleteRoots(t.Context(), anybody, []uint64{list[free].ID, 4711})
	wantError(t, "unknown root", err, dbus.ErrNoSuchRoot)
	_, err = d.DeleteRoots(t.Context(), anybody, nil)
	wantError(t, "no root", err, dbus.ErrInvalidArgs)
	if len(m.rolledOver(t)) != 5 {
		t.Fatalf("a refused call deleted something: %v", m.rolledOver(t))
	}
	id, err := d.DeleteRoots(t.Context(), anybody, []uint64{list[free].ID, list[free].ID})
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone || job.ItemsTotal != 1 {
		t.Errorf("ended as %+v", job)
	}
	if slices.Contains(m.rolledOver(t), free) {
		t.Error("the one that nothing protects is still there")
	}
}

func TestNextBoot(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	d := m.start(t)
	if got := d.Manager().NextBoot; got != "fresh" {
		t.Errorf("next boot %q", got)
	}
	id := fmt.Sprint(roots(t, d)[old].ID)
	for _, value := range []string{"keep", id, "fresh"} {
		must(t, d.SetNextBoot(t.Context(), value))
		if got := d.Manager().NextBoot; got != value {
			t.Errorf("next boot %q, want %q", got, value)
		}
		if got := m.start(t).Manager().NextBoot; got != value {
			t.Errorf("next boot %q after a restart, want %q", got, value)
		}
	}
	wantError(t, "a word", d.SetNextBoot(t.Context(), "tomorrow"), dbus.ErrInvalidArgs)
	wantError(t, "no root", d.SetNextBoot(t.Context(), "4711"), dbus.ErrNoSuchRoot)
}

func TestPinAndLabel(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	d := m.start(t)
	id := roots(t, d)[old].ID
	must(t, d.SetPinned(t.Context(), id, true))
	must(t, d.SetLabel(t.Context(), id, "the good one"))
	if r := roots(t, d)[old]; !r.Pinned || r.Label != "the good one" {
		t.Errorf("listed as %+v", r)
	}
	pinned, err := d.Roots(t.Context(), dbus.RootFilter{Pinned: new(bool)})
	must(t, err)
	if len(pinned) != 0 {
		t.Errorf("not pinned: %+v", pinned)
	}
	must(t, d.SetPinned(t.Context(), id, false))
	if r := roots(t, d)[old]; r.Pinned {
		t.Error("still pinned")
	}
	wantError(t, "a label with a line break", d.SetLabel(t.Context(), id, "a\nb"), dbus.ErrInvalidName)
	wantError(t, "no root", d.SetPinned(t.Context(), 4711, true), dbus.ErrNoSuchRoot)
}

// A wrong configuration keeps the one before in force, and says what is wrong; a right one takes its place.
func TestReload(t *testing.T) {
	m := newMachine(t)
	m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	m.configure(t, "[retention]\nkeepLast = 1\n")
	d := m.start(t)
	removals := func() (n int) {
		plan, err := d.PlanPrune(t.Context(), dbus.PruneOptions{})
		must(t, err)
		for _, item := range plan {
			if item.Remove {
				n++
			}
		}
		return n
	}
	m.configure(t, "[retention]\nkeepLst = 5\n")
	err := d.Reload(t.Context())
	wantError(t, "reload", err, dbus.ErrInvalidConfiguration)
	said := strings.Join(d.Manager().ConfigurationErrors, "\n")
	if !strings.Contains(said, m.config+":5") || !strings.Contains(said, "keepLst") || !strings.Contains(said, "keepLast") {
		t.Errorf("said: %s", said)
	}
	if removals() != 1 {
		t.Error("the configuration before is not in force")
	}
	m.configure(t, "[retention]\nkeepLast = 5\n")
	must(t, d.Reload(t.Context()))
	if len(d.Manager().ConfigurationErrors) != 0 || removals() != 0 {
		t.Errorf("after a right one: %v, %d removals", d.Manager().ConfigurationErrors, removals())
	}
}

// Started with a wrong configuration the daemon tells what is wrong, and does nothing that would need a right one.
func TestWrongFromTheStart(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[retention]\nkeepLst = 5\n")
	d := m.start(t)
	if len(d.Manager().ConfigurationErrors) == 0 {
		t.Error("nothing is told")
	}
	_, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
	wantError(t, "prune", err, dbus.ErrInvalidConfiguration)
	_, err = d.ApplyPersistence(t.Context(), anybody, nil)
	wantError(t, "apply", err, dbus.ErrInvalidConfiguration)
	m.configure(t, "")
	must(t, d.Reload(t.Context()))
	_, err = d.PlanPrune(t.Context(), dbus.PruneOptions{})
	must(t, err)
}

func TestManager(t *testing.T) {
	m := newMachine(t)
	booted := subvolumeID(t, m.sysroot)
	must(t, os.WriteFile(filepath.Join(m.runDir, "boot.json"), fmt.Appendf(nil, `[
		{"mountPoint": "/", "bootID": "1-2", "time": "2026-11-23T07:54:00Z", "outcome": "fresh", "device": "/dev/sda2",
		 "report": {"fresh": %d, "former": 299, "oldRoot": "old_roots/20261123T075400Z-299", "rolledOver": "2026-11-23T07:54:00Z", "durationNSec": 2600000}},
		{"mountPoint": "/home", "outcome": "failed", "error": "no space", "report": {}}]`, booted), 0o644))
	d := m.start(t, func(o *daemon.Options) { o.Device = m.device })
	got := d.Manager()
	want := dbus.Manager{
		Version: "test", Filesystem: strings.TrimSpace(btrfstest.Run(t, "blkid", "-s", "UUID", "-o", "value", m.device)),
		BootedRoot: booted, NextBoot: "fresh", ActiveJobs: []uint64{},
		LastRollover: dbus.Details{
			"mountPoint": "/", "outcome": "fresh", "bootID": "1-2", "device": "/dev/sda2", "fresh": booted, "former": uint64(299),
			"oldRoot": "old_roots/20261123T075400Z-299", "timeUSec": uint64(1795420440000000), "rolledOverUSec": uint64(1795420440000000),
			"durationUSec": uint64(2600), "failures": []string{"/home: no space"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manager (-want +got):\n%s", diff)
	}
	wantDocumented(t, "Manager", "LastRollover", slices.Collect(maps.Keys(got.LastRollover))...)
}

// Early boot says what it did, the kernel what is mounted: a fresh root that is not mounted is none.
func TestARootThatIsNotMountedIsNotFresh(t *testing.T) {
	m := newMachine(t)
	must(t, os.WriteFile(filepath.Join(m.runDir, "boot.json"), []byte(`[
		{"mountPoint": "/", "outcome": "fresh", "error": "commit: read-only", "report": {"fresh": 300}}]`), 0o644))
	boot := m.start(t).Manager().LastRollover
	text, _ := boot["error"].(string)
	for _, part := range []string{"commit: read-only", "subvolume 300", fmt.Sprint("subvolume ", subvolumeID(t, m.sysroot)), "subvol=root"} {
		if !strings.Contains(text, part) {
			t.Errorf("error %q does not say %q", text, part)
		}
	}
	if boot["outcome"] != "failed" {
		t.Errorf("outcome %v", boot["outcome"])
	}
}

// What others do in old_roots is noticed and told, and listed at once; what is listed twice is read once.
func TestOthersChangesAreTold(t *testing.T) {
	m := newMachine(t)
	name := m.oldRoot(t, day)
	d := m.start(t, func(o *daemon.Options) { o.Top = m.top })
	told := make(chan struct{}, 1000)
	d.OnChange(func(what dbus.Change) {
		if what&dbus.RootsChanged != 0 {
			told <- struct{}{}
		}
	})
	path := filepath.Join(m.top, "old_roots", name)
	for _, c := range []struct {
		what   string
		change func()
		want   func(map[string]dbus.Root) bool
	}{
		{"made", func() { m.oldRoot(t, 0) }, func(l map[string]dbus.Root) bool { return len(l) == 2 }},
		{"pinned", func() { setAttribute(t, path, "pinned", "1") }, func(l map[string]dbus.Root) bool { return l[name].Pinned }},
		{"renamed", func() { must(t, os.Rename(path, path+"x")) }, func(l map[string]dbus.Root) bool { return l[name+"x"].Pinned }},
		{"deleted", func() { btrfstest.Run(t, "btrfs", "subvolume", "delete", path+"x") }, func(l map[string]dbus.Root) bool { return len(l) == 1 }},
	} {
		roots(t, d) // from now on it is watched
		c.change()
		<-told
		for !c.want(roots(t, d)) { // a change may be several events
			<-told
		}
	}
	mounted := filepath.Join(t.TempDir(), "mounted")
	before := roots(t, d)
	btrfstest.Mount(t, m.device, mounted, "subvol=root")
	if diff := cmp.Diff(before, roots(t, d)); diff != "" {
		t.Errorf("another mount of the root changes the list: %s", diff)
	}
}
