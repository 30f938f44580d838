package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// sysroot is where the root of a boot is mounted, with what belongs on it.
func (m *machine) sysroot() string { return filepath.Join(m.dir, "sysroot") }

// mounts are what a boot mounts, by subvolume.
var mounts = []struct{ subvolume, at string }{{"root", ""}, {"home", "home"}, {"persist", "persist"}}

// newRunningMachine is a machine with two ephemeral mount points that has booted once.
func newRunningMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	btrfstest.Subvolume(t, filepath.Join(m.top, "home"))
	m.write(t, "config.toml", configuration+"[ephemeral.\"/home\"]\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n")
	m.mount(t)
	return m
}

func (m *machine) mount(t *testing.T) {
	t.Helper()
	for _, mount := range mounts {
		btrfstest.Mount(t, m.device, filepath.Join(m.sysroot(), mount.at), "subvol="+mount.subvolume)
	}
}

// boot boots once more, up to the moment at which persist runs.
func (m *machine) boot(t *testing.T, cmdline string) {
	t.Helper()
	for i := range mounts {
		btrfstest.Unmount(t, filepath.Join(m.sysroot(), mounts[len(mounts)-1-i].at))
	}
	for _, mount := range mounts[:2] { // it is another boot
		btrfstest.Run(t, "setfattr", "-n", "trusted.impermanence.boot_id", "-v", "before", filepath.Join(m.top, mount.subvolume))
	}
	if err := os.RemoveAll(filepath.Join(m.dir, "run")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	code := run(context.Background(), []string{
		"rollover", "--config", filepath.Join(m.dir, "config.toml"), "--run-dir", filepath.Join(m.dir, "run"),
		"--cmdline", "root=" + m.device + " rootflags=subvol=root " + cmdline,
	}, newLogger(&b, person))
	if code != exitDone {
		t.Fatalf("exit %d\n%s", code, b.String())
	}
	m.mount(t)
}

// persist runs persist, and returns its log and its report by targets.
func (m *machine) persist(t *testing.T) (code int, log string, results map[string]persist.Result) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), []string{
		"persist", "--config", filepath.Join(m.dir, "config.toml"), "--run-dir", filepath.Join(m.dir, "run"), "--sysroot", m.sysroot(), "--keep-going",
	}, newLogger(&b, person))
	data, err := os.ReadFile(filepath.Join(m.dir, "run", persistRecordName))
	if err != nil {
		t.Fatal(err)
	}
	var report persist.Report
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	results = map[string]persist.Result{}
	for _, r := range report.Results {
		results[r.Target] = r
	}
	return code, b.String(), results
}

// persistAll runs persist, which has to put all in place.
func (m *machine) persistAll(t *testing.T) {
	t.Helper()
	if code, log, results := m.persist(t); code != exitDone {
		t.Errorf("exit %d, %+v\n%s", code, results, log)
	}
}

// keep asks to keep something from the next boot on.
func (m *machine) keep(t *testing.T, target string) {
	t.Helper()
	m.carry(t, change.Request{Deed: change.Add, Target: target, NextBoot: true})
}

// carry changes what is kept in the running system.
func (m *machine) carry(t *testing.T, r change.Request) {
	t.Helper()
	reply := change.Carry(t.Context(), change.Options{Config: config.LoadOptions{Path: filepath.Join(m.dir, "config.toml")}, Sysroot: m.sysroot()}, r)
	if err := reply.Err(); err != nil {
		t.Fatalf("%s: %v", r.Deed, err)
	}
}

// record is what is recorded on the volume.
func (m *machine) record(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.sysroot(), config.RecordPath("/persist")))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantKept fails unless the volume has what was there when it was asked for, it is seen in its place, and no root is named any more.
func (m *machine) wantKept(t *testing.T, file, want string) {
	t.Helper()
	for _, p := range []string{filepath.Join("persist", file), file} {
		if got, err := os.ReadFile(filepath.Join(m.sysroot(), p)); string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", p, got, err, want)
		}
	}
	if record := m.record(t); strings.Contains(record, "addedIn") || !strings.Contains(record, filepath.Dir(file)) {
		t.Errorf("the record is\n%s", record)
	}
}

// TestTakenFromTheRootItWasAddedIn: whatever boots came between and put nothing in place, what is kept is what was there when
// it was asked for.
func TestTakenFromTheRootItWasAddedIn(t *testing.T) {
	const (
		other  = "a program writes something else"
		staged = "its root is not put away"
	)
	for name, between := range map[string][]string{ // FIRST and SECOND are old roots
		"the next boot":                        {""},
		"two boots":                            {"", other, ""},
		"three boots, the last of which keeps": {"", "", other, "impermanence=keep"},
		"a boot without a rollover":            {"", other, "impermanence=off"},
		"it runs again, kept":                  {"impermanence=keep"},
		"it runs again":                        {"impermanence=off"},
		"a copy of another":                    {"", other, "", "impermanence.root=SECOND"},
		"a copy of it":                         {"", "impermanence.root=FIRST"},
		"it was not put away":                  {"", staged},
	} {
		t.Run(name, func(t *testing.T) {
			m := newRunningMachine(t)
			m.write(t, "sysroot/srv/app/data", "precious")
			m.write(t, "sysroot/srv/app2/data", "precious too")
			m.keep(t, "/srv/app")
			m.keep(t, "/srv/app2")
			if name == "a boot without a rollover" { // which tells no device
				m.write(t, "config.toml", strings.Replace(configuration, "subvolume", fmt.Sprintf("device = %q\nsubvolume", m.device), 1))
			}
			for _, what := range between {
				switch what {
				case other:
					m.write(t, "sysroot/srv/app/data", "begun anew")
				case staged:
					if err := os.Rename(m.oldRoots(t)[0], filepath.Join(m.top, "root.next")); err != nil {
						t.Fatal(err)
					}
				default:
					m.boot(t, m.withOldRoots(t, what))
				}
			}
			m.persistAll(t)
			m.wantKept(t, "srv/app/data", "precious")
			m.wantKept(t, "srv/app2/data", "precious too")
			m.boot(t, "")
			m.write(t, "run/"+btrfsops.BootRecordName, "nobody looks for a former root now")
			if code, log, _ := m.persist(t); code != exitDone || strings.Contains(log, "warning") {
				t.Errorf("the boot after: exit %d\n%s", code, log)
			}
			m.wantKept(t, "srv/app/data", "precious")
		})
	}
}

// oldRoots are the old roots of "/", oldest first.
func (m *machine) oldRoots(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(m.top, "old_roots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// withOldRoots puts names of old roots into a kernel command line.
func (m *machine) withOldRoots(t *testing.T, cmdline string) string {
	t.Helper()
	for i, name := range m.oldRoots(t) {
		if i < 2 {
			cmdline = strings.ReplaceAll(cmdline, []string{"FIRST", "SECOND"}[i], filepath.Base(name))
		}
	}
	return cmdline
}

// TestCompletedInTheRunningSystem: what a crash left recorded and not copied is taken from the root that runs, not from an older one.
func TestCompletedInTheRunningSystem(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/srv/app/data", "of another time")
	m.boot(t, "")
	m.write(t, "sysroot/srv/app/data", "precious")
	m.keep(t, "/srv/app")
	m.persistAll(t)
	m.wantKept(t, "srv/app/data", "precious")
}

func TestEachMountPointHasRootsOfItsOwn(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/home/demo/data", "in a home")
	m.write(t, "sysroot/srv/app/data", "in the root")
	m.keep(t, "/home/demo")
	m.boot(t, "")
	m.write(t, "sysroot/home/demo/data", "of another boot")
	m.write(t, "sysroot/srv/app/data", "in the second root")
	m.keep(t, "/srv/app")
	m.boot(t, "")
	m.boot(t, "")
	m.persistAll(t)
	m.wantKept(t, "home/demo/data", "in a home")
	m.wantKept(t, "srv/app/data", "in the second root")
}

// TestTheRootIsGone: nothing is made in its stead until somebody says so.
func TestTheRootIsGone(t *testing.T) {
	for _, how := range []string{"made by hand", "asked for again"} {
		t.Run(how, func(t *testing.T) {
			m := newRunningMachine(t)
			m.write(t, "sysroot/srv/app/data", "precious")
			in, err := btrfsops.NameOf(m.sysroot())
			if err != nil {
				t.Fatal(err)
			}
			m.keep(t, "/srv/app")
			m.boot(t, "")
			m.boot(t, "")
			btrfstest.Run(t, "btrfs", "subvolume", "delete", m.oldRoots(t)[0])
			for range 2 {
				code, log, results := m.persist(t)
				r := results["/srv/app"]
				if code != exitFailed || r.State != persist.Failed || results["/var/log"].State != persist.InPlace {
					t.Errorf("exit %d, %+v", code, results)
				}
				for _, want := range []string{in.String(), "no longer there", "/persist/srv/app", "forget"} {
					if !strings.Contains(r.Error, want) || !strings.Contains(log, want) {
						t.Errorf("%q is not in %s\n%s", want, r.Error, log)
					}
				}
				if _, err := os.Lstat(filepath.Join(m.sysroot(), "persist/srv/app")); !os.IsNotExist(err) {
					t.Errorf("a source was made (%v)", err)
				}
				if !strings.Contains(m.record(t), in.UUID) {
					t.Errorf("the root is forgotten:\n%s", m.record(t))
				}
				m.boot(t, "")
			}
			if how == "made by hand" {
				m.write(t, "sysroot/persist/srv/app/data", "new")
			} else {
				m.write(t, "sysroot/srv/app/data", "new")
				m.carry(t, change.Request{Deed: change.Remove, Target: "/srv/app"})
				m.carry(t, change.Request{Deed: change.Add, Target: "/srv/app"})
			}
			m.persistAll(t)
			m.wantKept(t, "srv/app/data", "new")
		})
	}
}

// TestAMountPointThatIsNotMountedYet: its root is where it always is.
func TestAMountPointThatIsNotMountedYet(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/home/demo/data", "in a home")
	m.keep(t, "/home/demo")
	m.boot(t, "impermanence=keep")
	btrfstest.Unmount(t, filepath.Join(m.sysroot(), "home"))
	m.persistAll(t)
	m.wantKept(t, "home/demo/data", "in a home")
}

// TestARecordThatCannotBeWritten keeps the name of a root that nobody needs, and costs nothing else.
func TestARecordThatCannotBeWritten(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/srv/app/data", "precious")
	m.keep(t, "/srv/app")
	m.boot(t, "")
	dir := filepath.Join(m.sysroot(), "persist/.impermanence")
	btrfstest.Run(t, "chattr", "+i", dir)
	t.Cleanup(func() { btrfstest.Run(t, "chattr", "-i", dir) })
	code, log, results := m.persist(t)
	if code != exitDone || results["/srv/app"].State != persist.InPlace || !strings.Contains(log, "warning: record entries") || !strings.Contains(m.record(t), "addedIn") {
		t.Errorf("exit %d, %+v\n%s", code, results, log)
	}
	btrfstest.Run(t, "chattr", "-i", dir)
	m.persistAll(t)
	m.wantKept(t, "srv/app/data", "precious")
}

// TestARecordWithoutARoot is of an older version: what it has is taken from the root before.
func TestARecordWithoutARoot(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/srv/app/data", "of the first root")
	m.keep(t, "/srv/app")
	m.write(t, "sysroot/persist/.impermanence/entries.toml", "directories = [\"/srv/app\"]\n")
	m.boot(t, "")
	m.write(t, "sysroot/srv/app/data", "of the root before")
	m.boot(t, "")
	m.persistAll(t)
	m.wantKept(t, "srv/app/data", "of the root before")
}

// TestARecordThatSomebodySpoiled costs what is recorded one boot, and nothing else.
func TestARecordThatSomebodySpoiled(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "sysroot/srv/app/data", "precious")
	m.keep(t, "/srv/app")
	right := m.record(t)
	spoiled := strings.Replace(right, "uuid = \"", "uuid = \"spoiled ", 1)
	m.write(t, "sysroot/persist/.impermanence/entries.toml", spoiled)
	m.boot(t, "")
	code, log, results := m.persist(t)
	if !strings.Contains(log, "entries.toml:") || !strings.Contains(log, "is not a UUID") || results["/var/log"].State != persist.InPlace || len(results) != 1 {
		t.Errorf("exit %d, %+v\n%s", code, results, log)
	}
	if _, err := os.Lstat(filepath.Join(m.sysroot(), "persist/srv/app")); !os.IsNotExist(err) || m.record(t) != spoiled {
		t.Errorf("something was changed (%v):\n%s", err, m.record(t))
	}
	m.write(t, "sysroot/persist/.impermanence/entries.toml", right)
	m.boot(t, "")
	m.persistAll(t)
	m.wantKept(t, "srv/app/data", "precious")
}
