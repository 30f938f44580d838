package daemon_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// watched is a daemon that runs, and word of its changes.
type watched struct {
	*daemon.Daemon
	changes chan struct{}
}

func (m *machine) watch(t *testing.T, change ...func(*daemon.Options)) *watched {
	t.Helper()
	w := &watched{m.start(t, change...), make(chan struct{}, 1)}
	w.OnChange(func(dbus.Change) {
		select {
		case w.changes <- struct{}{}:
		default:
		}
	})
	s := newTask()
	close(s.ready)
	stop, ended := supervise(t, w.Daemon, nil, s)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// until waits for the changes that make a condition hold.
func (w *watched) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-w.changes:
		case <-ctx.Done():
			t.Fatalf("nobody tells that %s", what)
		}
	}
}

func (w *watched) state(target string) string {
	for _, e := range w.Entries() {
		if e.Target == target {
			return e.State
		}
	}
	return ""
}

// What others mount and unmount changes how entries stand, and which old roots may be deleted; both is told.
func TestMountsOfOthersAreTold(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\ndirectories = [\"/srv\"]\n")
	name := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	w := m.watch(t)
	id, err := w.ApplyPersistence(t.Context(), anybody, nil)
	finish(t, w.Daemon, id, err)
	if state := w.state("/srv"); state != "in-place" {
		t.Fatalf("the entry is %q", state)
	}
	must(t, unix.Unmount(filepath.Join(m.sysroot, "srv"), 0))
	w.until(t, "an entry was unmounted", func() bool { return w.state("/srv") == "missing" })

	old := filepath.Join(t.TempDir(), "old")
	btrfstest.Mount(t, m.device, old, "subvol=old_roots/"+name)
	inUse := func() bool { return slices.Contains(roots(t, w.Daemon)[name].ProtectReasons, "in-use") }
	w.until(t, "an old root was mounted", inUse)
	must(t, unix.Unmount(old, 0))
	w.until(t, "it was unmounted", func() bool { return !inUse() })
}

// What others make and delete among the old roots is told.
func TestRootsOfOthersAreTold(t *testing.T) {
	m := newMachine(t)
	m.oldRoot(t, day)
	w := m.watch(t)
	if len(roots(t, w.Daemon)) != 1 { // from now on the directory is watched
		t.Fatal("the old root isn't listed")
	}
	made := filepath.Join(m.top, "old_roots", "2024-11-04_10:33:02")
	btrfstest.Subvolume(t, made)
	there := func() bool { _, ok := roots(t, w.Daemon)["2024-11-04_10:33:02"]; return ok }
	w.until(t, "a subvolume was made", there)
	btrfstest.Run(t, "btrfs", "subvolume", "delete", made)
	w.until(t, "it was deleted", func() bool { return !there() })
}

// That the configuration files are not those that were read is told, also where there were none, and not even a directory.
func TestConfigurationOfOthersIsTold(t *testing.T) {
	m := newMachine(t)
	place := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(place, "etc"), 0o755))
	for _, test := range []struct {
		name, file string
		change     func(*daemon.Options)
	}{
		{"a file", m.config, func(*daemon.Options) {}},
		{"the usual places", filepath.Join(place, "etc/impermanence/conf.d/a.toml"), func(o *daemon.Options) { o.Config.Path, o.Config.Root = "", place }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := m.watch(t, test.change)
			needed := func() bool { return w.Manager().ReloadNeeded }
			before, _ := os.ReadFile(test.file) // there may be none
			must(t, os.MkdirAll(filepath.Dir(test.file), 0o755))
			must(t, os.WriteFile(test.file, append(before, "\n[retention]\nkeepLast = 7\n"...), 0o644))
			w.until(t, "the configuration has changed", needed)
			must(t, os.WriteFile(test.file, before, 0o644))
			if len(before) > 0 {
				w.until(t, "it is as it was", func() bool { return !needed() })
				must(t, os.WriteFile(test.file, append(before, "nonsense = 1\n"...), 0o644))
				w.until(t, "it is wrong", needed)
				wantError(t, "reload", w.Reload(t.Context()), dbus.ErrInvalidConfiguration)
			} else {
				must(t, w.Reload(t.Context()))
			}
			if needed() {
				t.Error("what was just read is to be read")
			}
		})
	}
}

// fill writes so many random bytes into a file and onto the disk.
func fill(t *testing.T, path string, size int) {
	t.Helper()
	data := make([]byte, size)
	_, err := rand.Read(data)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	must(t, unix.Syncfs(int(f.Fd())))
}

// When less than minFree is left the daemon prunes by itself, the oldest first, as far as needed; where pruning does not
// help, or somebody asked to be left alone, it does nothing.
func TestPrunesForWantOfSpace(t *testing.T) {
	const size = 24 << 20
	m := newMachine(t)
	var names []string
	for age := range 4 {
		names = append(names, m.oldRoot(t, time.Duration(10-age)*day))
		fill(t, filepath.Join(m.top, "old_roots", names[age], "data"), size)
	}
	space, err := btrfsops.SpaceAt(m.sysroot)
	must(t, err)
	limit := func(free uint64) string {
		return fmt.Sprintf("[retention]\nkeepWithin = \"1y\"\nminFree = \"%dKiB\"\n", free>>10)
	}
	prunes := func(d *daemon.Daemon) int {
		count := 0
		for _, j := range d.Jobs() {
			if finish(t, d, j.ID, nil); j.Operation == "prune" {
				count++
			}
		}
		return count
	}

	m.configure(t, limit(space.Free-size))
	d := m.start(t)
	d.CheckSpace(now)
	if prunes(d) != 0 {
		t.Error("it prunes although there is room")
	}

	m.configure(t, limit(space.Free+size/2))
	must(t, btrfsops.WriteBootRecords(m.runDir, []btrfsops.BootRecord{{MountPoint: "/", Outcome: btrfsops.OutcomeSkipped}}))
	d = m.start(t)
	d.Manager() // it looks
	d.CheckSpace(now)
	if prunes(d) != 0 {
		t.Error("it prunes although somebody asked for nothing to be done")
	}
	must(t, os.Remove(filepath.Join(m.runDir, btrfsops.BootRecordName)))

	d = m.start(t)
	d.CheckSpace(now)
	if n := prunes(d); n != 1 {
		t.Fatalf("it prunes %d times", n)
	}
	if left := m.rolledOver(t); !slices.Equal(left, names[1:]) {
		t.Errorf("left %q of %q", left, names)
	}

	m.configure(t, limit(1<<50))
	must(t, d.Reload(t.Context()))
	d.CheckSpace(now) // takes all but the newest
	if n, left := prunes(d), m.rolledOver(t); n != 2 || !slices.Equal(left, names[3:]) {
		t.Errorf("pruned %d times, left %q", n, left)
	}
	d.CheckSpace(now)
	d.CheckSpace(now.Add(time.Minute))
	if n := prunes(d); n != 2 {
		t.Errorf("it prunes in vain: %d times", n)
	}
}

// What was deleted and is open in a program frees nothing. That is told, nothing more is deleted for want of space, and nobody is kept
// from the file system.
func TestPruneThatCanNotFreeSpace(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[retention]\nkeepWithin = \"1y\"\nminFree = \"1000TiB\"\n")
	first, second := m.oldRoot(t, 3*day), m.oldRoot(t, 2*day)
	newest := m.oldRoot(t, day)
	held, err := os.Open(filepath.Join(m.top, "old_roots", first))
	must(t, err)
	defer held.Close()
	d := m.start(t)
	d.DoNotWaitForTheCleaner()
	for range 2 { // the second comes after what was deleted before
		d.CheckSpace(now)
		for _, j := range d.Jobs() {
			job := finish(t, d, j.ID, nil)
			if job.Result != dbus.ResultPartial || job.Error.Name != dbus.InfoOf(dbus.ErrBusy).Name {
				t.Errorf("ended as %+v", job)
			}
		}
	}
	if left := m.rolledOver(t); !slices.Equal(left, []string{second, newest}) || len(d.Jobs()) != 1 {
		t.Errorf("left %q after %d jobs", left, len(d.Jobs()))
	}
	must(t, d.SetPinned(t.Context(), roots(t, d)[second].ID, true))
}
