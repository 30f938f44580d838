package setup

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/machinetest"
)

var update = flag.Bool("update", false, "write the golden files")

// TestPlans holds what a set-up does to each distribution's layout.
func TestPlans(t *testing.T) {
	for _, d := range distributions() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d)
			before := w.snapshotOf(t)
			f, p := w.plan(t, Options{})
			if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
				t.Errorf("planning changed the machine:\n%s", diff)
			}
			golden(t, d.name, strings.NewReplacer(f.UUID, "UUID").Replace(text(p)))
		})
	}
}

// text is a plan as a golden file has it.
func text(p Plan) string {
	var b strings.Builder
	for _, step := range p.Steps {
		if step.Op == EnableUnits {
			step.Names = []string{"UNITS"} // of the preset, which another test holds
		}
		fmt.Fprintln(&b, step)
		for _, change := range p.Record.Files {
			if step.Op != WriteFile || change.Path != step.Path {
				continue
			}
			removed, added := change.Lines()
			for _, line := range removed {
				b.WriteString("  - " + line)
			}
			for _, line := range added {
				b.WriteString("  + " + line)
			}
		}
	}
	for _, note := range p.Notes {
		fmt.Fprintln(&b, "note:", note)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestSetUpAndBoot sets each distribution up, boots it, and looks whether it has what it should.
func TestSetUpAndBoot(t *testing.T) {
	for _, d := range distributions() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d)
			w.setUp(t)
			if text := w.read(t, filepath.Join(w.root, "boot/initrd")); !strings.Contains(text, "[ephemeral.\"/\"]") {
				t.Errorf("the initrd was built without the configuration:\n%s", text)
			}
			w.write(t, "opt/stray", "", 0o644)
			w.boot(t, d, "first")
			w.isSetUp(t, d)
			w.write(t, "opt/stray", "", 0o644)
			w.boot(t, d, "second")
			w.isSetUp(t, d)
		})
	}
}

// isSetUp holds what a booted machine is to have.
func (w *world) isSetUp(t *testing.T, d distribution) {
	t.Helper()
	for _, gone := range []string{"opt/stray", "tmp/leftover"} {
		if _, err := os.Lstat(filepath.Join(w.root, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	c, err := config.Load(config.LoadOptions{Root: w.root})
	must(t, err)
	if len(c.Ephemeral) != 1 || c.Ephemeral[0].Subvolume != d.subvolume {
		t.Errorf("the fresh root is configured as %+v", c.Ephemeral)
	}
	opts := c.In(w.root)
	opts.MountTable = t.TempDir()
	report, err := persist.Apply(context.Background(), opts, c.Entries())
	must(t, err)
	for _, result := range report.Results {
		if result.State != persist.InPlace {
			t.Errorf("%s is %s: %s", result.Target, result.State, result.Error)
		}
	}
	if got := w.read(t, filepath.Join(w.root, "etc/machine-id")); got != "0123456789abcdef0123456789abcdef\n" {
		t.Errorf("the machine id is %q", got)
	}
	if got := w.read(t, filepath.Join(w.root, "var/log/messages")); got != "before the set-up\n" {
		t.Errorf("the log is %q", got)
	}
	for _, unit := range []string{"impermanenced.service", "impermanence-prune.timer", "impermanence-persist.service"} {
		if !enabled(w.root, unit) {
			t.Errorf("%s is not enabled in the fresh root", unit)
		}
	}
	for i := range report.Results {
		btrfstest.Unmount(t, filepath.Join(w.root, report.Results[len(report.Results)-1-i].Target))
	}
}

// TestNoFreshRootIsAtItsFirstBoot sets a machine up that was never booted. What a first boot would do is done before the template is made, and
// once.
func TestNoFreshRootIsAtItsFirstBoot(t *testing.T) {
	w := newWorld(t, distributions()[0])
	const done = "usr/lib/systemd/systemd-update-done"
	w.write(t, "usr/bin/systemd-sysusers", "#!/bin/sh\necho users >>/etc/first\n", 0o755)
	w.write(t, done, "#!/bin/sh\necho done >>/etc/first\ntouch -r /usr /etc/.updated /var/.updated\n", 0o755)
	w.setUp(t)
	template := filepath.Join(w.top, "root-template")
	if got := w.read(t, filepath.Join(template, "etc/first")); got != "users\ndone\n" {
		t.Errorf("before the template was made, %q was done", got)
	}
	if left := machine.Updates(template); len(left) > 0 {
		t.Errorf("the first boot of the template has to run %q", left)
	}
	w.undo(t)
	if _, p := w.plan(t, Options{}); strings.Contains(text(p), done) {
		t.Errorf("done again:\n%s", text(p))
	}
	// A change of /usr, as an upgrade while the machine was off.
	must(t, os.Chtimes(filepath.Join(w.root, "usr"), time.Time{}, time.Now().Add(time.Hour)))
	if _, p := w.plan(t, Options{}); !strings.Contains(text(p), done) {
		t.Errorf("not done after /usr has changed:\n%s", text(p))
	}
}

// TestUndoGivesTheFormerStateBack undoes a set-up that was never booted: files, units and subvolumes are as before.
func TestUndoGivesTheFormerStateBack(t *testing.T) {
	for _, d := range distributions() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d)
			before := w.snapshotOf(t)
			w.setUp(t)
			if before == w.snapshotOf(t) {
				t.Fatal("the set-up changed nothing")
			}
			w.undo(t)
			if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
				t.Errorf("(-before +after undo):\n%s", diff)
			}
			if text := w.read(t, filepath.Join(w.root, "boot/initrd")); text != "none\n" {
				t.Errorf("the initrd has still a configuration: %s", text)
			}
		})
	}
}

// TestUndoKeepsWhatWasWrittenToTheVolume undoes a set-up that was never booted, but whose volume somebody has changed a file on.
func TestUndoKeepsWhatWasWrittenToTheVolume(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	kept := filepath.Join(w.top, "persist/etc/machine-id")
	must(t, os.WriteFile(kept, []byte("written since\n"), 0o644))
	if notes := w.undo(t); len(notes) != 1 || !strings.Contains(notes[0], "it was changed since") {
		t.Errorf("it says %q", notes)
	}
	if text := w.read(t, kept); text != "written since\n" {
		t.Errorf("it has %q", text)
	}
}

// TestUndoKeepsWhatFstabMounts: a line of a set-up that somebody has changed stays, and a machine waits for what it mounts.
func TestUndoKeepsWhatFstabMounts(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	w.write(t, "etc/fstab", strings.Replace(w.read(t, filepath.Join(w.root, "etc/fstab")), "subvol=/persist", "compress=zstd,subvol=/persist", 1), 0o644)
	if notes := w.undo(t); len(notes) != 1 || !strings.Contains(notes[0], "fstab mounts it") {
		t.Errorf("it says %q", notes)
	}
	for _, name := range []string{"persist/etc/machine-id", "@rootfs/persist"} {
		if _, err := os.Stat(filepath.Join(w.top, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestUndoPutsBackWhatWasRecorded undoes a set-up that was never booted, but whose volume was mounted, and an entry added to it.
func TestUndoPutsBackWhatWasRecorded(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	btrfstest.Mount(t, w.device, filepath.Join(w.root, "persist"), "subvol=persist")
	w.write(t, "opt/data/file", "before\n", 0o644)
	w.write(t, "persist/opt/data/file", "since\n", 0o644)
	entry := persist.Entry{Target: "/opt/data", Source: "/persist/opt/data", Volume: "/persist"}
	must(t, config.WriteRecorded(w.root, persist.Volume{Path: "/persist"}, []persist.Entry{entry}))
	// What is kept on another volume is not undone.
	w.write(t, "etc/impermanence/conf.d/other.toml", "[persistence.\"/other\"]\ndirectories = [\"/opt/other\"]\n", 0o644)
	btrfstest.Subvolume(t, filepath.Join(w.top, "other"))
	btrfstest.Mount(t, w.device, filepath.Join(w.root, "other"), "subvol=other")
	w.write(t, "other/opt/other/file", "", 0o644)
	w.write(t, "opt/other/file", "", 0o644)
	for volume, place := range map[string]string{"persist": "opt/data", "other": "opt/other"} {
		btrfstest.Run(t, "mount", "--bind", filepath.Join(w.root, volume, place), filepath.Join(w.root, place))
		t.Cleanup(func() { btrfstest.Unmount(t, filepath.Join(w.root, place)) })
	}
	w.undo(t)
	btrfstest.Run(t, "mountpoint", filepath.Join(w.root, "opt/other"))
	if text := w.read(t, filepath.Join(w.top, "@rootfs/opt/data/file")); text != "since\n" {
		t.Errorf("the root has %q", text)
	}
}

// TestWhatIsSharedIsTold: another system on the file system may have a volume and old roots, and they have the same names.
func TestWhatIsSharedIsTold(t *testing.T) {
	w := newWorld(t, distributions()[0])
	for _, name := range []string{"persist", "old_roots"} { // as for a disk that a set-up has laid out
		btrfstest.Subvolume(t, filepath.Join(w.top, name))
	}
	_, p := w.plan(t, Options{})
	if strings.Contains(strings.Join(p.Notes, "\n"), "there already") {
		t.Errorf("of empty ones it says %q", p.Notes)
	}
	btrfstest.Subvolume(t, filepath.Join(w.top, "old_roots/other"))
	must(t, os.WriteFile(filepath.Join(w.top, "persist/file"), nil, 0o644))
	_, p = w.plan(t, Options{})
	for _, name := range []string{`"persist" is there already`, `"old_roots" is there already`} {
		if !strings.Contains(strings.Join(p.Notes, "\n"), name) {
			t.Errorf("not told that %s: %q", name, p.Notes)
		}
	}
}

// TestWhatGoesWithTheRootIsTold: snapper makes /.snapshots inside the root, and systemd makes empty ones.
func TestWhatGoesWithTheRootIsTold(t *testing.T) {
	w := newWorld(t, distributions()[0])
	for _, name := range []string{"@rootfs/.snapshots", "@rootfs/empty"} {
		btrfstest.Subvolume(t, filepath.Join(w.top, name))
	}
	w.write(t, ".snapshots/1/info.xml", "", 0o644)
	_, p := w.plan(t, Options{})
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "/.snapshots in the root becomes a part of an old root") {
		t.Errorf("it says %q", p.Notes)
	}
}

// TestSymlinksStay: a file that is a symlink to another is changed there, and so given back. The record, which has what files had, is root's.
func TestSymlinksStay(t *testing.T) {
	w := newWorld(t, distributions()[0])
	file := filepath.Join(w.root, "etc/fstab")
	must(t, os.Rename(file, file+".real"))
	must(t, os.Symlink("fstab.real", file))
	before := w.read(t, file)
	w.setUp(t)
	if text := w.read(t, file+".real"); !strings.Contains(text, "/persist") {
		t.Errorf("what it leads to is as before:\n%s", text)
	}
	info, err := os.Stat(filepath.Join(w.root, recordFile))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the record has mode %v", info.Mode())
	}
	w.undo(t)
	if to, err := os.Readlink(file); err != nil || to != "fstab.real" || w.read(t, file) != before {
		t.Errorf("it leads to %q (%v)", to, err)
	}
}

// TestUndoAfterTheVolumeWasMounted, in a root that was not booted since: people have gone on with what is in the root.
func TestUndoAfterTheVolumeWasMounted(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	btrfstest.Mount(t, w.device, filepath.Join(w.root, "persist"), "subvol=persist")
	w.write(t, "home/demo/.profile", "worked on\n", 0o644)
	if notes := strings.Join(w.undo(t), "\n"); !strings.Contains(notes, "/home of the root stays") || !strings.Contains(notes, "it is mounted") {
		t.Errorf("it says %q", notes)
	}
	if got := w.read(t, filepath.Join(w.root, "home/demo/.profile")); got != "worked on\n" {
		t.Errorf("the root has %q", got)
	}
}

// TestUndoLeavesAMountedVolume undoes all else, and says so.
func TestUndoLeavesAMountedVolume(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	btrfstest.Mount(t, w.device, filepath.Join(w.root, "persist"), "subvol=persist")
	if notes := w.undo(t); len(notes) != 1 || !strings.Contains(notes[0], "it is mounted") {
		t.Errorf("it says %q", notes)
	}
	if _, err := os.Stat(filepath.Join(w.root, "persist/etc/machine-id")); err != nil {
		t.Error(err)
	}
}

// TestSetUpIsResumed interrupts a set-up before and after each step. The rest is done when it is run again, as often as that.
func TestSetUpIsResumed(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	_, p := w.plan(t, Options{})
	for n := 1; n < len(p.Steps); n++ {
		t.Run(p.Steps[n].String(), func(t *testing.T) {
			w := newWorld(t, d)
			f, p := w.plan(t, Options{})
			m := w.machine(t)
			must(t, m.work(context.Background(), f, p.Record, p.Steps[:n]))
			must(t, m.work(context.Background(), f, p.Record, p.Steps[n-1:n])) // twice: it was done, and not noted
			f, p = w.plan(t, Options{VolumePoint: "/elsewhere"})
			if !p.Resumed || p.Record.Point != "/persist" {
				t.Fatalf("not resumed: %+v", p)
			}
			must(t, m.Apply(context.Background(), f, p))
			w.boot(t, d, "first")
			w.isSetUp(t, d)
		})
	}
}

// TestAnInterruptedSetUpIsUndone, at any step: nothing is left of it.
func TestAnInterruptedSetUpIsUndone(t *testing.T) {
	d := distributions()[0]
	_, p := newWorld(t, d).plan(t, Options{})
	for n := 1; n < len(p.Steps); n++ {
		t.Run(p.Steps[n].String(), func(t *testing.T) {
			w := newWorld(t, d)
			before := w.snapshotOf(t)
			f, p := w.plan(t, Options{})
			must(t, w.machine(t).work(context.Background(), f, p.Record, p.Steps[:n]))
			if notes := w.undo(t); len(notes) > 0 {
				t.Errorf("it says %q", notes)
			}
			if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
				t.Errorf("(-before +after undo):\n%s", diff)
			}
		})
	}
	for name, ends := range map[string]func(*testing.T, *world){"failed": fails, "killed": isKilled} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, d)
			w.notKept(t)
			before := btrfstest.Run(t, "ls", w.top)
			ends(t, w)
			if notes := w.undo(t); len(notes) > 0 {
				t.Errorf("it says %q", notes)
			}
			if diff := cmp.Diff(before, btrfstest.Run(t, "ls", w.top)); diff != "" {
				t.Errorf("(-before +after undo):\n%s", diff)
			}
		})
	}
}

// TestResumedOverAChange: what a person made of a file after the set-up was interrupted is not written over. Undone and set up anew it stays.
func TestResumedOverAChange(t *testing.T) {
	d := distributions()[0]
	for name, change := range map[string]func(t *testing.T, w *world){
		"changed": func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/fstab", w.read(t, filepath.Join(w.root, "etc/fstab"))+"tmpfs /scratch tmpfs defaults 0 0\n", 0o644)
		},
		"removed": func(t *testing.T, w *world) { t.Helper(); must(t, os.Remove(filepath.Join(w.root, "etc/fstab"))) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, d)
			f, p := w.plan(t, Options{})
			must(t, w.machine(t).work(context.Background(), f, p.Record, p.Steps[:len(p.Steps)-1]))
			change(t, w)
			f, err := Gather(w.root, Options{})
			must(t, err)
			if _, err = MakePlan(f, Options{}); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "/etc/fstab") {
				t.Fatalf("got %v", err)
			}
			w.undo(t)
			if _, err := os.Stat(filepath.Join(w.root, "etc/fstab")); (err == nil) != (name == "changed") {
				t.Errorf("undone, fstab: %v", err)
			}
			w.setUp(t)
			if fstab := w.read(t, filepath.Join(w.root, "etc/fstab")); name == "changed" && !strings.Contains(fstab, "/scratch") {
				t.Errorf("fstab lacks what was added:\n%s", fstab)
			}
		})
	}
}

// TestTheTableOfFileSystems: the volume is mounted as the root is, but not read-only, and early, also where it was mounted before.
func TestTheTableOfFileSystems(t *testing.T) {
	for name, c := range map[string]struct{ former, want string }{
		"a new line": {
			"/dev/x / btrfs ro,compress=zstd,subvol=/@,x-systemd.growfs 0 1\n",
			"/dev/x / btrfs ro,compress=zstd,subvol=/@,x-systemd.growfs 0 1\n/dev/x /persist btrfs compress=zstd,subvol=/persist,x-initrd.mount 0 0\n",
		},
		"a line that is there": {
			"/dev/x / btrfs subvol=/@ 0 0\n/dev/x\t/persist\tbtrfs\tsubvol=/persist\t0 0\n",
			"/dev/x / btrfs subvol=/@ 0 0\n/dev/x\t/persist\tbtrfs\tsubvol=/persist,x-initrd.mount\t0 0\n",
		},
		"one that is right":      {"/dev/x /persist btrfs x-initrd.mount,subvol=persist 0 0\n", "/dev/x /persist btrfs x-initrd.mount,subvol=persist 0 0\n"},
		"the root by its id":     {"/dev/x / btrfs rw,subvolid=256,subvol=/@ 0 0\n", "/dev/x / btrfs rw,subvol=/@ 0 0\n/dev/x /persist btrfs rw,subvol=/persist,x-initrd.mount 0 0\n"},
		"the root is not in it":  {"", "UUID=1234 /persist btrfs defaults,subvol=/persist,x-initrd.mount 0 0\n"},
		"a line that has no end": {"/dev/x / btrfs", "/dev/x / btrfs\n/dev/x /persist btrfs defaults,subvol=/persist,x-initrd.mount 0 0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planner{Facts: Facts{Files: map[string]string{fstabFile: c.former}, UUID: "1234", Own: map[string]bool{"/dev/x": true}}, record: Record{Layout: btrfsops.Layout{Root: "@"}}}
			if diff := cmp.Diff(c.want, p.fstab()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLoaderEntries: those of the root name it by its path, unless the default subvolume, which follows it, is enough. Another system's on the
// same file system stay.
func TestLoaderEntries(t *testing.T) {
	for options, c := range map[string]struct{ want, byDefault string }{ // "": it stays
		"rootflags=subvol=@":            {},
		"rootflags=subvol=/@":           {},
		"rootflags=subvol=@other":       {},
		"rootflags=subvol=@,subvolid=7": {"rootflags=subvol=@", "rootflags=subvol=@"},
		"rootflags=subvolid=7":          {"rootflags=subvol=@", "rootflags=subvol=@"},
		"rootflags=subvolid=300":        {},
		"quiet":                         {"quiet rootflags=subvol=@", ""},
	} {
		for name, defaultID := range map[string]btrfsops.SubvolumeID{"by path": 5, "by default": 7} {
			t.Run(options+" "+name, func(t *testing.T) {
				want := c.want
				if defaultID == 7 {
					want = c.byDefault
				}
				text := "linux /vmlinuz\noptions root=UUID=1234 " + options + "\n"
				file := machine.NewBootFile("/boot/loader/entries/a.conf", machine.LoaderEntry, text)
				p := planner{record: Record{Layout: btrfsops.Layout{Root: "@"}}, Facts: Facts{
					UUID: "1234", RootID: 7, DefaultID: defaultID, Boot: []machine.BootFile{file}, Files: map[string]string{file.Path: text},
				}}
				p.bootLoader()
				got := ""
				for _, change := range p.record.Files {
					got = strings.TrimSuffix(strings.TrimPrefix(change.Written, "linux /vmlinuz\noptions root=UUID=1234 "), "\n")
				}
				if got != want {
					t.Errorf("it becomes %q, want %q", got, want)
				}
			})
		}
	}
}

// TestWhatAPersonHasToDoForTheBootLoader: where nothing here can make it boot the root by its path.
func TestWhatAPersonHasToDoForTheBootLoader(t *testing.T) {
	grub := machine.NewBootFile("/boot/grub/grub.cfg", machine.GrubConfig, "linux /vmlinuz root=UUID=1234 quiet\n")
	other := machine.NewBootFile("/boot/loader/entries/a.conf", machine.LoaderEntry, "linux /vmlinuz\noptions root=UUID=9999\n")
	for _, c := range []struct {
		boot []machine.BootFile
		tool []string
		id   btrfsops.SubvolumeID // of the default subvolume
		runs string               // the command line of the running kernel
		want string
	}{
		{want: "no boot loader configuration was found"},
		{runs: "root=UUID=1234 rootflags=subvolid=7", want: "no boot loader configuration was found"},
		{runs: "root=UUID=1234 rootflags=subvolid=7", id: 7, want: "no boot loader configuration was found"},
		{runs: "root=UUID=1234 rootflags=subvol=/@"}, // a boot loader that is not known here, or a unified kernel
		{runs: "root=UUID=1234 quiet", id: 7},
		{runs: "root=live:CDLABEL=x", id: 7},
		{boot: []machine.BootFile{other}, want: "no kernel command line was found"},
		{boot: []machine.BootFile{grub}, want: "grub.cfg boots the root without"},
		{boot: []machine.BootFile{grub}, tool: []string{"update-grub"}, want: "grub.cfg boots the root without"}, // there is nothing that it is made from
		{boot: []machine.BootFile{grub}, id: 7},
		{id: 7},
	} {
		p := planner{record: Record{Layout: btrfsops.Layout{Root: "@"}}, Facts: Facts{UUID: "1234", RootID: 7, DefaultID: c.id, Boot: c.boot, Running: c.runs, GrubTool: c.tool}}
		p.bootLoader()
		if got := strings.Join(p.notes, "\n"); (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) || len(p.record.Files) > 0 {
			t.Errorf("with %+v it says %q, want %q", c, got, c.want)
		}
	}
}

// TestGrubIsMadeOfMore than /etc/default/grub: where its configuration boots the root by its id all the same, that is told.
func TestGrubIsMadeOfMore(t *testing.T) {
	for script, want := range map[string]string{
		"sed -i s/subvolid=256/subvol=@rootfs/": "",
		"sed -i s/quiet/splash/":                "/boot/grub/grub.cfg still boots the root without rootflags=subvol=@rootfs",
	} {
		w := newWorld(t, distributions()[0])
		must(t, os.Symlink("busybox", filepath.Join(w.root, "bin/sed")))
		w.write(t, "usr/sbin/update-grub", "#!/bin/sh\n"+script+" /boot/grub/grub.cfg\n", 0o755)
		w.write(t, "boot/grub/grub.cfg", strings.Replace(w.read(t, filepath.Join(w.root, "boot/grub/grub.cfg")), "subvol=@rootfs", "subvolid=256", 1), 0o644)
		f, p := w.plan(t, Options{})
		m, notes := w.machine(t), ""
		m.Note = func(text string) { notes += text }
		must(t, m.Apply(t.Context(), f, p))
		if (notes == "") != (want == "") || !strings.HasPrefix(notes, want) {
			t.Errorf("with %q it says %q, want %q", script, notes, want)
		}
	}
}

// TestHooksOfMkinitcpio: early boot is among them whatever other drop-ins set, which mkinitcpio reads as they are sorted; a preset that has it
// read none is named. Once the package is gone they are as before: mkinitcpio calls a hook that is not there an error each time.
func TestHooksOfMkinitcpio(t *testing.T) {
	w := newWorld(t, distributions()[2])
	w.write(t, "etc/mkinitcpio.d/linux.preset", "#ALL_config=\"/etc/mkinitcpio.conf\"\nPRESETS=(default)\n", 0o644)
	w.write(t, "etc/mkinitcpio.d/lts.preset", "PRESETS=(default)\ndefault_config=\"/etc/mkinitcpio.conf\"\n", 0o644)
	_, p := w.plan(t, Options{})
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "/etc/mkinitcpio.d/lts.preset names a configuration") {
		t.Errorf("it says %q", p.Notes)
	}
	become := func(t *testing.T, hooks, want string) {
		t.Helper()
		w.write(t, "etc/mkinitcpio.conf.d/omarchy_hooks.conf", "HOOKS=("+hooks+")\n", 0o644)
		w.write(t, mkinitcpioFile, strings.ReplaceAll(mkinitcpioHooks, "/usr/lib/", w.root+"/usr/lib/"), 0o644)
		const read = `cd "$1"; for file in $(LC_ALL=C.UTF-8 sort --version-sort <<<"$(ls)"); do . ./"$file"; done; echo ${HOOKS[*]}`
		if got := strings.TrimSpace(btrfstest.Run(t, "bash", "-c", read, "bash", filepath.Join(w.root, "etc/mkinitcpio.conf.d"))); got != want {
			t.Errorf("of %q it makes %q, want %q", hooks, got, want)
		}
	}
	all := map[string]string{
		"base systemd block filesystems fsck":   "base systemd block filesystems fsck sd-impermanence",
		"base udev block encrypt filesystems":   "base udev block encrypt impermanence filesystems",
		"base udev block filesystems overlayfs": "base udev block impermanence filesystems overlayfs",
	}
	for hooks, want := range all {
		become(t, hooks, want)
	}
	must(t, os.Remove(filepath.Join(w.root, "usr/lib/initcpio/install/impermanence")))
	for hooks := range all {
		become(t, hooks, hooks)
	}
}

// TestTakeOut undoes changes in texts that were changed since.
func TestTakeOut(t *testing.T) {
	const root, booted, volume = "/dev/x / btrfs subvolid=256", "/dev/x / btrfs subvol=/@", "/dev/x /persist btrfs subvol=/persist"
	change := func(former string) FileChange {
		return FileChange{Former: &former, Written: "# fstab\n" + booted + "\n" + volume + "\n"}
	}
	for name, c := range map[string]struct {
		change    FileChange
		now, want string
	}{
		"a line added":                      {change("# fstab\n" + root + "\n"), "# fstab\n" + booted + "\n" + volume + "\nmine\n", "# fstab\n" + root + "\nmine\n"},
		"a line added where none ended":     {change("# fstab\n" + root), "# fstab\n" + booted + "\n" + volume + "\nmine\n", "# fstab\n" + root + "\nmine\n"},
		"the end of the last line is gone":  {change("# fstab\n" + root + "\n"), "# mine\n" + booted + "\n" + volume, "# mine\n" + root + "\n"},
		"what replaced a line is changed":   {change("# fstab\n" + root + "\n"), "# fstab\n" + booted + ",mine\n" + volume + "\n", "# fstab\n" + booted + ",mine\n"},
		"what replaced a line is not there": {change("# fstab\n" + root + "\n"), "# fstab\n" + volume + "\n", "# fstab\n"},
		"a line that was only removed":      {FileChange{Former: ptr("a\nb\nc\n"), Written: "a\nc\n"}, "a\nc\nmine", "a\nc\nmine\nb\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.change.takeOut(c.now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func ptr(s string) *string { return &s }

// TestUndoKeepsEachChangedConfiguration: what a person made of the configuration of one set-up is not lost by undoing the next.
func TestUndoKeepsEachChangedConfiguration(t *testing.T) {
	w := newWorld(t, distributions()[0])
	const file = "etc/impermanence/impermanence.toml"
	for _, mine := range []string{"# first\n", "# second\n", "# second\n"} {
		w.setUp(t)
		w.write(t, file, w.read(t, filepath.Join(w.root, file))+mine, 0o644)
		w.undo(t)
	}
	kept, err := filepath.Glob(filepath.Join(w.root, file+".before-undo*"))
	must(t, err)
	if len(kept) != 2 {
		t.Errorf("kept %q", kept)
	}
	for i, want := range []string{"# first\n", "# second\n"} {
		if text := w.read(t, kept[i]); !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", kept[i], want)
		}
	}
}

// TestUndoIsResumed interrupts an undo after each step.
func TestUndoIsResumed(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	f, err := Gather(w.root, Options{})
	must(t, err)
	p, err := PlanUndo(f, Options{})
	must(t, err)
	for n := range p.Steps {
		t.Run(p.Steps[n].String(), func(t *testing.T) {
			w := newWorld(t, d)
			before := w.snapshotOf(t)
			w.setUp(t)
			f, err := Gather(w.root, Options{})
			must(t, err)
			must(t, w.machine(t).work(context.Background(), f, *f.Record, p.Steps[:n]))
			w.undo(t)
			if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
				t.Errorf("(-before +after undo):\n%s", diff)
			}
		})
	}
}

// TestUndoAfterBoots gives a booted machine its permanent root: with what was kept, also what was written to it since.
func TestUndoAfterBoots(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	w.write(t, "persist/var/log/messages", "since\n", 0o640)
	w.write(t, "etc/motd", "of the running root\n", 0o644)
	w.write(t, "run/motd.d/impermanence.motd", "what is wrong with entries that there are no more\n", 0o644)
	notes := w.undo(t)
	if len(notes) == 0 || !strings.Contains(notes[0], "the machine was booted since") {
		t.Errorf("nothing is said of the volume that stays: %q", notes)
	}
	for name, want := range map[string]string{
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "var/log/messages": "since\n", "etc/motd": "of the running root\n",
		"persist/var/log/messages": "since\n", "home/demo/.profile": "demo's\n",
	} {
		if got := w.read(t, filepath.Join(w.root, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(w.read(t, filepath.Join(w.root, "etc/fstab")), "persist") {
		t.Error("fstab still has the volume")
	}
	for _, gone := range []string{"root-template", "@rootfs/etc/impermanence", "@rootfs/run/motd.d/impermanence.motd"} {
		if _, err := os.Lstat(filepath.Join(w.top, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
}

// TestUndoNamesTheRootThatRuns, where a file named by its id the root that was set up: that is an old root now, which would be booted for ever.
func TestUndoNamesTheRootThatRuns(t *testing.T) {
	for _, d := range distributions()[1:3] {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, d)
			w.setUp(t)
			w.boot(t, d, "first")
			f, err := Gather(w.root, Options{})
			must(t, err)
			p, err := PlanUndo(f, Options{})
			must(t, err)
			last := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Op == RemoveRecord })
			must(t, w.machine(t).work(t.Context(), f, *f.Record, p.Steps[:last])) // interrupted
			w.undo(t)
			found := 0
			for _, file := range []string{"etc/fstab", "etc/kernel/cmdline", "boot/loader/entries/arch.conf"} {
				text, err := os.ReadFile(filepath.Join(w.root, file))
				if err != nil {
					continue // a distribution does not have it
				}
				found += strings.Count(string(text), fmt.Sprintf("subvolid=%d", f.RootID))
				if strings.Contains(string(text), "subvolid=256") {
					t.Errorf("%s names an old root:\n%s", file, text)
				}
			}
			if found == 0 {
				t.Error("nothing names the root")
			}
		})
	}
}

// TestAnOldRootIsNotUndone: the template would go, and the root stay as it is.
func TestAnOldRootIsNotUndone(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	w.boot(t, distributions()[0], "first")
	old, err := filepath.Glob(filepath.Join(w.top, "old_roots/*"))
	must(t, err)
	dir := filepath.Join(t.TempDir(), "old")
	btrfstest.Mount(t, w.device, dir, "subvol=old_roots/"+filepath.Base(old[0]))
	f, err := Gather(dir, Options{})
	must(t, err)
	if _, err := PlanUndo(f, Options{}); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), "is an old root") {
		t.Errorf("got %v", err)
	}
}

// TestWhatAnUndoingLeftDoesNotCount: people have gone on with what is in the root, and a later set-up does not put what was on the volume over it.
func TestWhatAnUndoingLeftDoesNotCount(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	list := filepath.Join(w.root, "etc/impermanence/conf.d/mine.toml")
	w.write(t, "etc/impermanence/conf.d/mine.toml", "[persistence.\"/persist\"]\ndirectories = [\"/opt/mine\"]\n", 0o644)
	w.undo(t)
	w.write(t, "home/demo/.profile", "worked on\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	if _, err := MakePlan(f, Options{}); !errors.Is(err, ErrAside) { // what else it left comes first
		t.Errorf("got %v", err)
	}
	must(t, os.Remove(list+asideSuffix))
	f, err = Gather(w.root, Options{})
	must(t, err)
	if _, err := MakePlan(f, Options{}); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "undone") {
		t.Errorf("got %v", err)
	}
	w.plan(t, Options{VolumeName: "another"})
	must(t, os.Remove(filepath.Join(w.top, "persist", undoneMark)))
	w.plan(t, Options{})
}

// TestUndoWithTheEntriesInPlace undoes a set-up in the machine that runs with it: what is kept is mounted over its places.
func TestUndoWithTheEntriesInPlace(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	must(t, w.putInPlace(t))
	place := filepath.Join(w.root, "var/log")
	btrfstest.Run(t, "mountpoint", place)
	w.write(t, "var/log/messages", "since\n", 0o640)
	f, err := Gather(w.root, Options{})
	must(t, err)
	p, err := PlanUndo(f, Options{})
	must(t, err)
	if !strings.Contains(text(p), "files that they have open on the volume") {
		t.Errorf("it does not say who should not write meanwhile:\n%s", text(p))
	}
	w.undo(t)
	if exec.Command("mountpoint", place).Run() == nil {
		t.Error("it is still mounted")
	}
	if text := w.read(t, filepath.Join(w.top, d.subvolume, "var/log/messages")); text != "since\n" {
		t.Errorf("the root has %q", text)
	}
}

// TestUndoTellsWhatItKeepsAside: what a place hid, and its source lacks.
func TestUndoTellsWhatItKeepsAside(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	w.write(t, "var/log/hidden", "hidden\n", 0o640)
	if err := w.putInPlace(t); !errors.Is(err, persist.ErrConflict) {
		t.Fatal(err)
	}
	notes := w.undo(t)
	at := slices.IndexFunc(notes, func(note string) bool { return strings.HasPrefix(note, "/var/log: ") })
	if at < 0 {
		t.Fatalf("it tells %q", notes)
	}
	_, aside, _ := strings.Cut(notes[at], " kept as ")
	if got := w.read(t, filepath.Join(w.root, aside, "hidden")); got != "hidden\n" {
		t.Errorf("%q has %q", aside, got)
	}
}

// TestUndoGoesOnAfterAFailure: what is in the way is found before anything is taken out of its place. What fails then is gone on with, and what was
// written meanwhile to what is back in the root is neither lost with a boot nor in the way.
func TestUndoGoesOnAfterAFailure(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	must(t, w.putInPlace(t))
	top, err := btrfsops.OpenDevice(w.device)
	must(t, err)
	defer func() { must(t, top.Close()) }()
	next := func(want string) {
		t.Helper()
		if got, err := top.NextBoot(d.layout()); err != nil || got != want {
			t.Errorf("the next boot is %q, %v, want %q", got, err, want)
		}
	}
	fails := func() {
		t.Helper()
		f, err := Gather(w.root, Options{})
		must(t, err)
		p, err := PlanUndo(f, Options{})
		must(t, err)
		if err := w.machine(t).Undo(t.Context(), f, p); err == nil {
			t.Fatal("it did not fail")
		}
	}
	log, home := filepath.Join(w.root, "var/log"), filepath.Join(w.root, "home")
	btrfstest.Run(t, "mount", "-t", "tmpfs", "tmpfs", home)
	fails()
	btrfstest.Run(t, "mountpoint", log)
	next(btrfsops.NextFresh)
	btrfstest.Unmount(t, home)

	parent := filepath.Join(w.root, "var/lib/systemd")
	btrfstest.Run(t, "chattr", "+i", parent) // in which a copy is made
	fails()
	btrfstest.Run(t, "chattr", "-i", parent)
	btrfstest.Run(t, "mountpoint", filepath.Join(parent, "timers"))
	if exec.Command("mountpoint", log).Run() == nil {
		t.Error("nothing was put back")
	}
	next(btrfsops.NextKeep)
	w.write(t, "var/log/messages", "in the root\n", 0o640)
	w.undo(t)
	next(btrfsops.NextFresh)
	for name, want := range map[string]string{"var/log/messages": "in the root\n", "home/demo/.profile": "demo's\n"} {
		if got := w.read(t, filepath.Join(w.top, d.subvolume, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestABootedMachineIsNoUnfinishedSetUp, whatever has become of its template.
func TestABootedMachineIsNoUnfinishedSetUp(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.setUp(t)
	w.boot(t, d, "first")
	btrfstest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(w.top, "root-template"))
	f, err := Gather(w.root, Options{})
	must(t, err)
	if _, err := MakePlan(f, Options{}); !errors.Is(err, ErrAlready) {
		t.Errorf("got %v", err)
	}
}

// TestAnotherTemplateIsNoUnfinishedSetUp: what was asked for then counts, also when it is not asked for again.
func TestAnotherTemplateIsNoUnfinishedSetUp(t *testing.T) {
	w := newWorld(t, distributions()[0])
	f, p := w.plan(t, Options{TemplateName: "mine"})
	must(t, w.machine(t).Apply(t.Context(), f, p))
	w.write(t, "etc/fstab", w.read(t, filepath.Join(w.root, "etc/fstab"))+"# mine\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	if _, err := MakePlan(f, Options{}); !errors.Is(err, ErrAlready) {
		t.Errorf("got %v", err)
	}
}

// TestUndoKeepsWhatOthersChanged undoes a set-up after a person changed the same files.
func TestUndoKeepsWhatOthersChanged(t *testing.T) {
	d := distributions()[2]
	w := newWorld(t, d)
	w.setUp(t)
	w.write(t, "etc/fstab", w.read(t, filepath.Join(w.root, "etc/fstab"))+"tmpfs /scratch tmpfs defaults 0 0\n", 0o644)
	w.write(t, "etc/impermanence/impermanence.toml", w.read(t, filepath.Join(w.root, "etc/impermanence/impermanence.toml"))+"# mine\n", 0o644)
	w.undo(t)
	fstab := w.read(t, filepath.Join(w.root, "etc/fstab"))
	for _, want := range []string{"tmpfs /scratch", "subvolid=256,subvol=/@\t0 0\n"} {
		if !strings.Contains(fstab, want) {
			t.Errorf("fstab lacks %q:\n%s", want, fstab)
		}
	}
	if strings.Contains(fstab, "persist") {
		t.Errorf("fstab still has the volume:\n%s", fstab)
	}
	if !strings.Contains(w.read(t, filepath.Join(w.root, "etc/impermanence/impermanence.toml.before-undo")), "# mine\n") {
		t.Error("the changed configuration is lost")
	}
	_, p := w.plan(t, Options{})
	if text := text(p); !strings.Contains(text, "what is in /etc/impermanence/impermanence.toml.before-undo and is to count again has to be added") {
		t.Errorf("a set-up afterwards does not tell of it:\n%s", text)
	}
}

// TestUndoSetsAsideWhatDependsOnIt undoes a set-up beside which a person configured more, and interrupts that: what is about the volume
// or the fresh root is read no more, and a later set-up does not forget it.
func TestUndoSetsAsideWhatDependsOnIt(t *testing.T) {
	d := distributions()[0]
	lists := map[string]string{
		"mine.toml":  "[persistence.\"/persist\"]\ndirectories = [\"/opt/mine\"]\n",
		"root.toml":  "[ephemeral.\"/\"]\nonFailure = \"emergency\"\n",
		"other.toml": "[persistence.\"/other\"]\ndirectories = [\"/opt/other\"]\n",
		"keep.json":  `{"retention": {"keepLast": 5}}`,
	}
	configured := func(t *testing.T) (*world, Facts, Plan) {
		t.Helper()
		w := newWorld(t, d)
		w.setUp(t)
		for name, text := range lists {
			w.write(t, "etc/impermanence/conf.d/"+name, text, 0o644)
		}
		f, err := Gather(w.root, Options{})
		must(t, err)
		p, err := PlanUndo(f, Options{})
		must(t, err)
		return w, f, p
	}
	_, _, p := configured(t)
	first := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Op == SetAside })
	for _, n := range []int{0, first, first + 1, len(p.Steps) - 1} {
		t.Run(p.Steps[n].String(), func(t *testing.T) {
			w, f, p := configured(t)
			must(t, w.machine(t).work(context.Background(), f, *f.Record, p.Steps[:n]))
			w.undo(t)
			for name := range lists {
				file := filepath.Join(w.root, "etc/impermanence/conf.d", name)
				if name == "mine.toml" || name == "root.toml" {
					file += ".before-undo"
				}
				if got := w.read(t, file); got != lists[name] {
					t.Errorf("%s is %q", name, got)
				}
			}
			c, err := config.Load(config.LoadOptions{Root: w.root})
			must(t, err)
			if len(c.Ephemeral) > 0 || len(c.Volumes) != 1 || c.Volumes[0].Path != "/other" {
				t.Errorf("configured are still %+v and %+v", c.Ephemeral, c.Volumes)
			}
			f, err = Gather(w.root, Options{})
			must(t, err)
			if _, err := MakePlan(f, Options{}); !errors.Is(err, ErrAside) || !strings.Contains(err.Error(), "/etc/impermanence/conf.d/mine.toml.before-undo") {
				t.Errorf("a set-up afterwards says %v", err)
			}
		})
	}
}

// TestUndoTellsWhatStaysElsewhere: what a person has added for another volume, in the file of the set-up or in one that is set aside.
func TestUndoTellsWhatStaysElsewhere(t *testing.T) {
	w := newWorld(t, distributions()[0])
	const file = "etc/impermanence/impermanence.toml"
	w.write(t, file, "[persistence.\"/former\"]\ndirectories = [\"/opt/former\"]\n", 0o644)
	w.setUp(t)
	w.write(t, file, w.read(t, filepath.Join(w.root, file))+"[persistence.\"/data\"]\ndirectories = [\"/opt/one\"]\n", 0o644)
	w.write(t, "etc/impermanence/conf.d/mine.toml", "[persistence.\"/persist\"]\nfiles = [\"/opt/mine\", { file = \"/opt/two\", persistentStoragePath = \"/data\" }]\n", 0o644)
	w.write(t, "etc/impermanence/conf.d/stays.toml", "[persistence.\"/data\"]\ndirectories = [\"/opt/three\"]\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	p, err := PlanUndo(f, Options{})
	must(t, err)
	want := []string{
		"/opt/two is kept on /data by /etc/impermanence/conf.d/mine.toml, which is read no more: it stays there, and is not put back",
		"/opt/one is kept on /data by /etc/impermanence/impermanence.toml, which is read no more: it stays there, and is not put back",
	}
	slices.Sort(want)
	slices.Sort(p.Notes)
	if diff := cmp.Diff(want, p.Notes); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// TestUndoLeavesWhatWasThere undoes a set-up of a machine that mounted its volume before: what a person keeps there is kept on.
func TestUndoLeavesWhatWasThere(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	btrfstest.Subvolume(t, filepath.Join(w.top, "persist"))
	btrfstest.Run(t, "btrfs", "filesystem", "label", w.top, "disk")
	w.write(t, "etc/fstab", w.read(t, filepath.Join(w.root, "etc/fstab"))+"LABEL=disk /persist btrfs subvol=persist 0 0\n", 0o644)
	w.write(t, "etc/impermanence/conf.d/mine.toml", "[persistence.\"/persist\"]\ndirectories = [\"/opt/mine\"]\n", 0o644)
	before := w.snapshotOf(t)
	w.setUp(t)
	w.undo(t)
	if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
		t.Errorf("(-before +after undo):\n%s", diff)
	}
}

// TestTheSameDiskByAnotherName: fstab may mount the volume by what leads to the root's device.
func TestTheSameDiskByAnotherName(t *testing.T) {
	w := newWorld(t, distributions()[0])
	link := filepath.Join(t.TempDir(), "disk")
	must(t, os.Symlink(w.device, link))
	w.write(t, "etc/fstab", w.read(t, filepath.Join(w.root, "etc/fstab"))+link+" /persist btrfs subvol=persist 0 0\n", 0o644)
	w.plan(t, Options{})
}

// TestTheRootsLineLeadsElsewhere: nobody notices, as the initrd is told of the root by the kernel command line; of the volume it is told by fstab, and
// would wait for a disk that is not there.
func TestTheRootsLineLeadsElsewhere(t *testing.T) {
	for name, spec := range map[string]string{"nowhere": "/dev/disk/by-label/gone", "to another disk": btrfstest.NewDevice(t, 0)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, distributions()[0])
			w.write(t, "etc/fstab", spec+" / btrfs subvol=@rootfs 0 0\n", 0o644)
			f, p := w.plan(t, Options{})
			c, _ := p.Record.change(fstabFile)
			if want := "\nUUID=" + f.UUID + " /persist "; !strings.Contains(c.Written, want) {
				t.Errorf("want %q in:\n%s", want, c.Written)
			}
		})
	}
}

// TestUndoTellsWhatAPackageBrought names what an undoing can't set aside.
func TestUndoTellsWhatAPackageBrought(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.setUp(t)
	w.write(t, "usr/lib/impermanence/conf.d/base.toml", "[persistence.\"/persist\"]\ndirectories = [\"/opt/base\"]\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	p, err := PlanUndo(f, Options{})
	must(t, err)
	if text := text(p); !strings.Contains(text, "ln -s /dev/null /etc/impermanence/conf.d/base.toml") {
		t.Errorf("nothing is said of it:\n%s", text)
	}
}

// TestWhatIsConfiguredStays sets up a machine that has lists of its own: nothing is configured twice.
func TestWhatIsConfiguredStays(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.write(t, "etc/impermanence/conf.d/mine.toml", "[persistence.\"/persist\"]\ndirectories = [\"/home\", \"/var/log\"]\n", 0o644)
	w.setUp(t)
	w.boot(t, d, "first")
	w.isSetUp(t, d)
	if got := w.read(t, filepath.Join(w.root, "persist/home/demo/.profile")); got != "demo's\n" {
		t.Errorf("the home has %q", got)
	}
}

// TestListsThatDoNotGoWithASetUp are found before anything is changed: what is kept in a home that is to be kept as a whole, a table that would
// stand twice in the same file, and a volume in what is to be kept.
func TestListsThatDoNotGoWithASetUp(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		options    Options
		says       string
	}{
		"an entry in a home": {"conf.d/mine.toml", "[persistence.\"/persist\"]\ndirectories = [\"/home/demo/work\"]\n", Options{}, "mine.toml:2: "},
		"a table twice":      {"impermanence.toml", "[retention]\nkeepLast = 5\n", Options{}, "retention"},
		"a volume in a home": {"conf.d/mine.toml", "", Options{VolumePoint: "/home/persist"}, "/home holds the persistent volume /home/persist"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, distributions()[0])
			w.write(t, "etc/impermanence/"+c.file, c.text, 0o644)
			before := w.snapshotOf(t)
			f, p := w.plan(t, c.options)
			if err := w.machine(t).Apply(t.Context(), f, p); !errors.Is(err, ErrLists) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff(before, w.snapshotOf(t)); diff != "" {
				t.Errorf("it changed the machine:\n%s", diff)
			}
		})
	}
}

// TestWhatIsNotKeptStays: what can't be put on the volume stays in the template, where each boot finds it.
func TestWhatIsNotKeptStays(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.write(t, "etc/impermanence/conf.d/mine.toml", "[persistence.\"/persist\"]\nfiles = [\"/etc/localtime\"]\n", 0o644)
	w.write(t, "usr/share/zoneinfo/UTC", "UTC", 0o644)
	must(t, os.Symlink("../usr/share/zoneinfo/UTC", filepath.Join(w.root, "etc/localtime")))
	f, p := w.plan(t, Options{})
	var notes []string
	m := w.machine(t)
	m.Note = func(text string) { notes = append(notes, text) }
	must(t, m.Apply(context.Background(), f, p))
	if link, err := os.Readlink(filepath.Join(w.top, "root-template/etc/localtime")); err != nil || link != "../usr/share/zoneinfo/UTC" {
		t.Errorf("the template has %q, %v", link, err)
	}
	if want := []string{"/etc/localtime is not kept: /etc/localtime is a symlink: not of the configured kind"}; !slices.Equal(notes, want) {
		t.Errorf("told %q, not %q", notes, want)
	}
}

// TestNoHomeIsLost finds the homes of people wherever they are.
func TestNoHomeIsLost(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	must(t, os.Rename(filepath.Join(w.root, "home"), filepath.Join(w.root, "data")))
	must(t, os.Symlink("/data", filepath.Join(w.root, "home")))
	w.write(t, "people/anna/notes", "anna's\n", 0o644)
	w.write(t, "company/ben/notes", "ben's\n", 0o644)
	w.write(t, "opt/service/file", "", 0o644)
	w.write(t, "var/lib/incus/database/global/db.bin", "", 0o644)
	w.write(t, "etc/passwd", "root:x:0:0::/root:/bin/sh\ndemo:x:1000:1000::/home/demo:/bin/sh\nanna:x:1001:1001::/people/anna:/bin/sh\n"+
		"service:x:999:999::/opt/service:/bin/false\nben:x:70001:100::/company/ben:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nbroken\nmany:x:1002:1002::/:/bin/sh\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	if diff := cmp.Diff([]string{"/data", "/var/lib/incus", "/people/anna", "/company/ben"}, f.Data); diff != "" {
		t.Errorf("what is kept (-want +got):\n%s", diff)
	}
	w.setUp(t)
	w.boot(t, d, "first")
	w.isSetUp(t, d)
	for name, want := range map[string]string{"persist/data/demo/.profile": "demo's\n", "persist/people/anna/notes": "anna's\n", "persist/company/ben/notes": "ben's\n"} {
		if got := w.read(t, filepath.Join(w.root, name)); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

// TestWhatIsImmutableIsKept: a log that can only be added to, and files and directories that nobody can change, are in what is kept.
func TestWhatIsImmutableIsKept(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	w.write(t, "home/demo/bin/tool", "", 0o755)
	must(t, os.Symlink("tool", filepath.Join(w.root, "home/demo/bin/link")))
	btrfstest.Run(t, "chattr", "+a", filepath.Join(w.root, "var/log/messages"))
	btrfstest.Run(t, "chattr", "+i", filepath.Join(w.root, "home/demo/bin/tool"), filepath.Join(w.root, "home/demo/bin"), filepath.Join(w.root, "etc/machine-id"))
	w.setUp(t)
	w.boot(t, d, "first")
	w.isSetUp(t, d)
	if _, err := os.Stat(filepath.Join(w.root, "persist/home/demo/bin/tool")); err != nil {
		t.Error(err)
	}
}

// TestAVolumeInAnotherPlace: what is kept is on it, also of a preset a part of which lies on a file system of its own.
func TestAVolumeInAnotherPlace(t *testing.T) {
	w := newWorld(t, distributions()[3])
	o := Options{VolumePoint: "/keep"}
	f, p := w.plan(t, o)
	must(t, w.machine(t).Apply(context.Background(), f, p))
	for name, want := range map[string]string{
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "etc/NetworkManager/system-connections/wifi.nmconnection": "secret\n",
	} {
		if got := w.read(t, filepath.Join(w.top, "persist", name)); got != want {
			t.Errorf("the volume has %q of %s", got, name)
		}
	}
}

// TestAFullDisk has a set-up fail for want of space: the machine boots as before, and when there is space the rest is done.
func TestAFullDisk(t *testing.T) {
	d := distributions()[0]
	w := newWorld(t, d)
	f, p := w.plan(t, Options{})
	must(t, w.machine(t).work(context.Background(), f, p.Record, p.Steps[:len(p.Steps)-1]))
	w.write(t, "home/demo/large", strings.Repeat("x", 1<<20), 0o644)
	filler := filepath.Join(w.top, "filler")
	if out, err := exec.Command("dd", "if=/dev/urandom", "of="+filler, "bs=64K", "conv=fsync").CombinedOutput(); err == nil {
		t.Fatalf("the disk is not full: %s", out)
	}
	f, p = w.plan(t, Options{})
	err := w.machine(t).Apply(context.Background(), f, p)
	t.Logf("with a full disk: %v", err)
	if _, errTemplate := os.Stat(filepath.Join(w.top, "root-template")); err != nil && errTemplate == nil {
		t.Error("it failed, and there is a template")
	}
	must(t, os.Remove(filler))
	if err != nil {
		f, p = w.plan(t, Options{})
		must(t, w.machine(t).Apply(context.Background(), f, p))
	}
	w.boot(t, d, "first")
	w.isSetUp(t, d)
	if got := w.read(t, filepath.Join(w.root, "persist/home/demo/large")); len(got) != 1<<20 {
		t.Errorf("of the large file there are %d bytes", len(got))
	}
}

// TestWhatFailedIsCopiedAnew: between a set-up that failed, or was killed, and the next one people go on with what is in the root, and that is what
// they find after the boot. A volume that somebody has changed stays as it is.
func TestWhatFailedIsCopiedAnew(t *testing.T) {
	nothing := func(*testing.T, *world) {}
	onVolume := func(name string) func(t *testing.T, w *world) {
		return func(t *testing.T, w *world) {
			t.Helper()
			machinetest.Write(t, filepath.Join(w.top, "persist", name), "on the volume\n", 0o644)
		}
	}
	mounted := func(t *testing.T, w *world) {
		t.Helper()
		btrfstest.Mount(t, w.device, filepath.Join(w.root, "persist"), "subvol=persist")
	}
	unmounted := func(t *testing.T, w *world) { t.Helper(); btrfstest.Unmount(t, filepath.Join(w.root, "persist")) }
	const profile = "home/demo/.profile"
	for name, c := range map[string]struct {
		fails            func(t *testing.T, w *world)
		meanwhile, after func(t *testing.T, w *world) // before and after another that fails
		want             map[string]string            // on the volume
	}{
		"the volume is as it was":            {fails, nothing, nothing, map[string]string{profile: "worked on\n"}},
		"the volume was changed":             {fails, onVolume("mine"), nothing, map[string]string{profile: "demo's\n", "mine": "on the volume\n"}},
		"the volume was mounted":             {fails, mounted, unmounted, map[string]string{profile: "demo's\n"}},
		"killed":                             {isKilled, nothing, nothing, map[string]string{profile: "worked on\n"}},
		"killed, and the volume was changed": {isKilled, onVolume("mine"), nothing, map[string]string{profile: "worked on\n", "mine": "on the volume\n"}},
		"killed, and a copy was changed":     {isKilled, onVolume(profile), nothing, map[string]string{profile: "on the volume\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, distributions()[0])
			w.notKept(t)
			c.fails(t, w)
			w.write(t, profile, "worked on\n", 0o644)
			c.meanwhile(t, w)
			fails(t, w)
			c.after(t, w)
			var notes []string
			m := w.machine(t)
			m.Note = func(text string) { notes = append(notes, text) }
			f, p := w.plan(t, Options{})
			must(t, m.Apply(t.Context(), f, p))
			if told := strings.Contains(strings.Join(notes, "\n"), "/home is kept on the volume already"); told != (c.want[profile] != "worked on\n") {
				t.Errorf("it says %q", notes)
			}
			for name, want := range c.want {
				if got := w.read(t, filepath.Join(w.top, "persist", name)); got != want {
					t.Errorf("the volume has %q of %s", got, name)
				}
			}
		})
	}
}

// notKept has a set-up tell of what is not kept, when the rest is copied.
func (w *world) notKept(t *testing.T) {
	t.Helper()
	w.write(t, "etc/impermanence/conf.d/local.toml", "[persistence.\"/persist\"]\nfiles = [\"/opt\"]\n", 0o644)
	w.write(t, "opt/file", "", 0o644)
}

// fails has a set-up of a machine with something that is not kept fail when what is kept is on the volume.
func fails(t *testing.T, w *world) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := w.machine(t)
	m.Note = func(string) { cancel() }
	f, p := w.plan(t, Options{})
	if err := m.Apply(ctx, f, p); !errors.Is(err, context.Canceled) {
		t.Fatalf("the set-up ended with %v", err)
	}
}

// isKilled ends one before that: of what comes then only the mounts go, as they do with its mount namespace.
func isKilled(t *testing.T, w *world) {
	t.Helper()
	m := w.machine(t)
	m.Note = func(string) { runtime.Goexit() }
	f, p := w.plan(t, Options{})
	ended := make(chan error)
	go func() {
		defer close(ended)
		ended <- m.Apply(t.Context(), f, p)
	}()
	if err, returned := <-ended; returned {
		t.Fatalf("the set-up ended with %v", err)
	}
}

// TestWhatAPresetKeepsIsNamedOnce: where cron is installed its preset keeps the tables of users, and else what lies there is data.
func TestWhatAPresetKeepsIsNamedOnce(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.write(t, "var/spool/cron/crontabs/demo", "@daily true\n", 0o600)
	f, err := Gather(w.root, Options{})
	must(t, err)
	if !slices.Contains(f.Data, "/var/spool/cron") || f.inPreset("/var/spool/cron") {
		t.Errorf("without cron: data %q", f.Data)
	}
	w.write(t, "usr/sbin/cron", "", 0o755)
	f, err = Gather(w.root, Options{})
	must(t, err)
	if slices.Contains(f.Data, "/var/spool/cron") || !f.inPreset("/var/spool/cron") {
		t.Errorf("with cron: data %q", f.Data)
	}
}

// TestARootThatIsNoSubvolume can't be replaced: the top level, and a directory of a subvolume.
func TestARootThatIsNoSubvolume(t *testing.T) {
	for options, bind := range map[string]string{"subvolid=5": "", "subvol=@rootfs": "/inner"} {
		t.Run(options, func(t *testing.T) {
			w := newWorld(t, distributions()[0])
			btrfstest.Run(t, "cp", "-a", w.root, filepath.Join(w.root, "..", "copy"))
			copied := filepath.Join(w.root, "..", "copy")
			btrfstest.Unmount(t, w.root)
			btrfstest.Mount(t, w.device, w.root, options)
			if bind != "" {
				must(t, os.Mkdir(w.root+bind, 0o755))
				btrfstest.Run(t, "mount", "--bind", w.root+bind, w.root)
			}
			btrfstest.Run(t, "cp", "-a", copied+"/.", w.root)
			f, err := Gather(w.root, Options{})
			must(t, err)
			_, err = MakePlan(f, Options{})
			if !errors.Is(err, ErrLayout) {
				t.Errorf("got %v", err)
			}
			if command := regexp.MustCompile(`\((btrfs .*) / /(.*)\)`).FindStringSubmatch(err.Error()); command != nil { // it can be typed, where there is a /root
				must(t, os.MkdirAll(filepath.Join(w.root, "root"), 0o700))
				btrfstest.Run(t, "sh", "-c", command[1]+` "$1" "$1/$2"`, "sh", w.root, command[2])
				btrfstest.Run(t, "btrfs", "subvolume", "show", filepath.Join(w.root, command[2]))
			} else if bind == "" {
				t.Errorf("no command in %q", err)
			}
		})
	}
}

// TestAWrongPresetChangesNothing finds it before anything is done.
func TestAWrongPresetChangesNothing(t *testing.T) {
	w := newWorld(t, distributions()[0])
	_, err := Gather(w.root, Options{Presets: []string{"acounts"}})
	if !errors.Is(err, ErrNoPreset) || !strings.Contains(err.Error(), `did you mean "accounts"?`) {
		t.Errorf("got %v", err)
	}
}

// TestEvidenceIsOfPresets: one that is not there keeps nothing, and nobody would be told.
func TestEvidenceIsOfPresets(t *testing.T) {
	for _, e := range evidence {
		if _, err := os.Stat(filepath.Join("../../systemd-units/presets", e.preset+".toml")); err != nil {
			t.Error(err)
		}
	}
}

// TestAPresetThatCantBeRead is not taken for one that keeps nothing.
func TestAPresetThatCantBeRead(t *testing.T) {
	w := newWorld(t, distributions()[0])
	w.write(t, "etc/impermanence/presets/logs.toml", "directories = [\"/var/log\"", 0o644)
	if _, err := Gather(w.root, Options{}); err == nil || !strings.Contains(err.Error(), "/etc/impermanence/presets/logs.toml:1:") {
		t.Errorf("got %v", err)
	}
	must(t, os.Remove(filepath.Join(w.root, "etc/impermanence/presets/logs.toml")))
	t.Setenv("TMPDIR", "/nowhere")
	if _, err := Gather(w.root, Options{}); err == nil {
		t.Error("without a directory for temporary files it plans without presets")
	}
}

// TestSwapFiles are found where fstab has them, and where something else has turned them on, as dphys-swapfile does.
func TestSwapFiles(t *testing.T) {
	f := Facts{
		Mounts: []machine.Mount{{Point: "/"}, {Point: "/swap"}},
		Files:  map[string]string{fstabFile: "/swapfile none swap sw 0 0\n/swap/file none swap sw 0 0\n/dev/vda3 none swap sw 0 0\nUUID=1 none swap sw 0 0\n"},
	}
	const head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for root, active := range map[string]string{
		"/":    head + "/dev/vda2  partition\t524284\t\t0\t\t-2\n/var/swap   file\t\t524284\t\t0\t\t-3\n/swap/more   file\t\t524284\t\t0\t\t-3\n",
		"/mnt": head + "/var/swap  file\t524284\t\t0\t\t-2\n/mnt/var/swap   file\t\t524284\t\t0\t\t-3\n",
	} {
		if got, want := f.findSwap(root, active), []string{"/swapfile", "/var/swap"}; !slices.Equal(got, want) {
			t.Errorf("of %s it finds %q, want %q", root, got, want)
		}
	}
}

// TestRefused holds which machines are not set up, with what is said.
func TestRefused(t *testing.T) {
	debian := distributions()[0]
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, w *world)
		options Options
		want    error
		says    string
	}{
		{"set up already", func(t *testing.T, w *world) { t.Helper(); w.setUp(t) }, Options{}, ErrAlready, ""},
		{"configured by hand", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/impermanence/impermanence.toml", "[ephemeral.\"/\"]\n", 0o644)
		}, Options{}, ErrConfigured, ""},
		{"not installed", func(t *testing.T, w *world) { t.Helper(); must(t, os.Remove(filepath.Join(w.root, stub))) }, Options{}, ErrNotInstalled, ""},
		{"a template of somebody else", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "root-template"))
		}, Options{}, ErrTaken, "--template"},
		{"a swap file in the root", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/fstab", "/swapfile none swap sw 0 0\n", 0o644)
		}, Options{}, ErrLayout, "/swapfile"},
		{"a subvolume in a home", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.root, "home/demo/containers"))
			w.write(t, "home/demo/containers/image", "", 0o644)
		}, Options{}, ErrNested, "/home/demo/containers"},
		{"data that is a subvolume in the root, as systemd-tmpfiles makes it", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.root, "srv"))
			w.write(t, "srv/www/index.html", "", 0o644)
		}, Options{}, ErrNested, "/srv"},
		{"subvolumes of a program's", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "usr/bin/dockerd", "", 0o755)
			must(t, os.MkdirAll(filepath.Join(w.root, "var/lib/docker/btrfs/subvolumes"), 0o755))
			btrfstest.Subvolume(t, filepath.Join(w.root, "var/lib/docker/btrfs/subvolumes/layer"))
			w.write(t, "var/lib/docker/btrfs/subvolumes/layer/file", "", 0o644)
		}, Options{}, ErrNested, "/var/lib/docker"},
		{"subvolumes of a program's that is asked for", func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.MkdirAll(filepath.Join(w.root, "var/lib/docker"), 0o755))
			btrfstest.Subvolume(t, filepath.Join(w.root, "var/lib/docker/layer"))
			w.write(t, "var/lib/docker/layer/file", "", 0o644)
		}, Options{Presets: []string{"docker"}}, ErrNested, "/var/lib/docker"},
		{"a subvolume in an entry", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/impermanence/conf.d/local.toml", "[persistence.\"/persist\"]\ndirectories = [\"/opt\"]\n", 0o644)
			must(t, os.MkdirAll(filepath.Join(w.root, "opt"), 0o755))
			btrfstest.Subvolume(t, filepath.Join(w.root, "opt/data"))
			w.write(t, "opt/data/file", "", 0o644)
		}, Options{}, ErrNested, "/opt/data"},
		{"a mounted subvolume in the root's", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "@rootfs/games"))
			btrfstest.Mount(t, w.device, filepath.Join(w.root, "games"), "subvol=@rootfs/games")
			w.write(t, "games/score", "", 0o644)
		}, Options{}, ErrLayout, "/games"},
		{"one that is mounted elsewhere", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "@rootfs/data"))
			btrfstest.Mount(t, w.device, filepath.Join(w.root, "srv"), "subvol=@rootfs/data")
		}, Options{}, ErrLayout, "/data, which is mounted at /srv"},
		{"one that fstab mounts", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "@rootfs/data"))
			w.write(t, "etc/fstab", w.device+" /data btrfs noauto,subvol=/@rootfs/data 0 0\n", 0o644)
		}, Options{}, ErrLayout, "/data, which is mounted at /data"},
		{"a /boot that is not mounted", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/fstab", "LABEL=boot /boot ext4 defaults 0 2\n", 0o644)
		}, Options{}, ErrLayout, "LABEL=boot at /boot, and it is not mounted"},
		{"a package database that a fresh root does not have", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "@var"))
			btrfstest.Mount(t, w.device, filepath.Join(w.root, "var"), "subvol=@var")
			w.write(t, "var/lib/dpkg/status", "Package: base\n", 0o644)
		}, Options{}, ErrLayout, "/var/lib/dpkg/status lies on /var, and a fresh root would have it without the packages: copy that into the root (mount --bind / /mnt; cp -a /var/. /mnt/var)"},
		{"something else at the volume's place", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/fstab", "/dev/sdb1 /persist ext4 defaults 0 0\n", 0o644)
		}, Options{}, ErrTaken, "--volume"},
		{"a volume of the same name on another disk", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "etc/fstab", btrfstest.NewDevice(t, 0)+" /persist btrfs subvol=persist 0 0\n", 0o644)
		}, Options{}, ErrTaken, "--volume"},
		{"a file in the volume's place", func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.Symlink("/srv/persist", filepath.Join(w.root, "persist")))
		}, Options{}, ErrTaken, "--volume"},
		{"something in the volume's place", func(t *testing.T, w *world) {
			t.Helper()
			w.write(t, "persist/mine", "", 0o644)
		}, Options{}, ErrTaken, "--volume"},
		{"a volume on another file system", func(t *testing.T, w *world) {
			t.Helper()
			btrfstest.Subvolume(t, filepath.Join(w.top, "@data"))
			btrfstest.Mount(t, w.device, filepath.Join(w.root, "data"), "subvol=@data")
		}, Options{VolumePoint: "/data/persist"}, ErrLayout, "/data/persist lies on what is mounted at /data"},
		{"a volume where nothing stays", func(*testing.T, *world) {}, Options{VolumePoint: "/var/tmp/persist"}, ErrLayout, "no place for a volume"},
		{"a directory for the volume", func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.Mkdir(filepath.Join(w.top, "persist"), 0o755))
		}, Options{}, ErrTaken, `"persist" is no subvolume: move it away, or give another name with --subvolume`},
		{"a file for the volume", func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.WriteFile(filepath.Join(w.top, "persist"), nil, 0o644))
		}, Options{}, ErrTaken, `"persist" is no subvolume`},
		{"a symlink for the old roots", func(t *testing.T, w *world) {
			t.Helper()
			must(t, os.Symlink("@rootfs", filepath.Join(w.top, "old_roots")))
		}, Options{}, ErrTaken, `"old_roots" is no directory: move it away`},
		{"a volume in a directory that is not there", func(*testing.T, *world) {}, Options{VolumeName: "volumes/persist"}, ErrLayout, `no directory "volumes" for "volumes/persist"`},
		{"a template in a directory that is not there", func(*testing.T, *world) {}, Options{TemplateName: "a/b/template"}, ErrLayout, `no directory "a/b" for "a/b/template"`},
		{"a volume in the root", func(*testing.T, *world) {}, Options{VolumeName: "@rootfs/persist"}, ErrLayout, "--subvolume"},
		{"a volume that is the template", func(*testing.T, *world) {}, Options{VolumeName: "root-template"}, ErrLayout, "--subvolume"},
		{"a volume that is no name", func(*testing.T, *world) {}, Options{VolumeName: "/persist"}, nil, "not a path relative to the top level"},
		{"a layout that runs into itself", func(*testing.T, *world) {}, Options{TemplateName: "@rootfs/template"}, nil, "invalid name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, debian)
			test.prepare(t, w)
			f, err := Gather(w.root, test.options)
			must(t, err)
			_, err = MakePlan(f, test.options)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
}

// TestASubvolumeIsMovedOut of the root by what is said to type, and then the machine is set up.
func TestASubvolumeIsMovedOut(t *testing.T) {
	w := newWorld(t, distributions()[0])
	btrfstest.Subvolume(t, filepath.Join(w.root, "srv"))
	w.write(t, "srv/www/index.html", "page\n", 0o644)
	f, err := Gather(w.root, Options{})
	must(t, err)
	_, err = MakePlan(f, Options{})
	command := regexp.MustCompile(`\((mount .*?)\)`).FindStringSubmatch(fmt.Sprint(err))
	if command == nil {
		t.Fatalf("nothing to type in %v", err)
	}
	mounted := t.TempDir()
	btrfstest.Run(t, "sh", "-ec", strings.ReplaceAll(command[1], "/mnt", mounted))
	t.Cleanup(func() { btrfstest.Unmount(t, mounted) })
	if text := w.read(t, filepath.Join(w.top, "srv/www/index.html")); text != "page\n" {
		t.Errorf("it has %q", text)
	}
	w.plan(t, Options{})
}

// TestWhatCantBeReadIsNotEmpty damages the block that all of a subvolume is in, which is where data lies. It is not left out of what is to be
// kept, nor taken for an empty one.
func TestWhatCantBeReadIsNotEmpty(t *testing.T) {
	w := newWorld(t, distributions()[0])
	btrfstest.Subvolume(t, filepath.Join(w.root, "srv"))
	w.write(t, "srv/data", "", 0o644)
	id := strings.TrimSpace(btrfstest.Run(t, "btrfs", "inspect-internal", "rootid", filepath.Join(w.root, "srv")))
	btrfstest.Unmount(t, w.root)
	btrfstest.Unmount(t, w.top)
	block := regexp.MustCompile(`(?m)^leaf (\d+) `).FindStringSubmatch(btrfstest.Run(t, "btrfs", "inspect-internal", "dump-tree", "-t", id, w.device))[1]
	for _, at := range regexp.MustCompile(`physical (\d+)`).FindAllStringSubmatch(btrfstest.Run(t, "btrfs-map-logical", "-l", block, w.device), -1) {
		btrfstest.Run(t, "dd", "if=/dev/zero", "of="+w.device, "bs=1", "count=4096", "seek="+at[1], "conv=notrunc,fsync")
	}
	btrfstest.Mount(t, w.device, w.root, "subvol=@rootfs")
	if f, err := Gather(w.root, Options{}); err == nil {
		t.Errorf("it goes on with %q as data, and %q as subvolumes that hold something", f.Data, f.Nested)
	} else if !strings.Contains(err.Error(), "srv: input/output error") {
		t.Errorf("it says %v", err)
	}
}
