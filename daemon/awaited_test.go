package daemon_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// record leaves /srv/later recorded, as added in an old root.
func (m *machine) record(t *testing.T, oldRoot string) {
	t.Helper()
	in, err := btrfsops.NameOf(filepath.Join(m.top, "old_roots", oldRoot))
	must(t, err)
	m.write(t, "persist/.impermanence/entries.toml",
		fmt.Sprintf("directories = [ { directory = \"/srv/later\", addedIn = { subvolume = %d, uuid = %q } } ]\n", in.ID, in.UUID))
}

// plan is what PlanPrune says, by name.
func plan(t *testing.T, d *daemon.Daemon) map[string]string {
	t.Helper()
	items, err := d.PlanPrune(t.Context(), dbus.PruneOptions{})
	must(t, err)
	got := map[string]string{}
	for _, item := range items {
		what := "keep"
		if item.Remove {
			what = "remove"
		}
		got[item.Name] = what + ": " + strings.Join(item.Reasons, ", ")
	}
	return got
}

// later is the entry /srv/later as the bus shows it.
func later(t *testing.T, d *daemon.Daemon) dbus.Entry {
	t.Helper()
	must(t, d.Rescan(t.Context()))
	for _, e := range d.Entries() {
		if e.Target == "/srv/later" {
			return e
		}
	}
	t.Fatal("/srv/later is no entry")
	return dbus.Entry{}
}

// TestARootThatAnEntryIsTakenFromStays: until the entry has its source nobody deletes the root that it was added in, whoever
// recorded it.
func TestARootThatAnEntryIsTakenFromStays(t *testing.T) {
	m, d := keeping(t, "[retention]\nkeepLast = 1\n")
	needed, free, newest := m.oldRoot(t, 10*day, "srv"), m.oldRoot(t, 5*day), m.oldRoot(t, day)
	must(t, os.MkdirAll(filepath.Join(m.top, "old_roots", needed, "srv/later"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.top, "old_roots", needed, "srv/later/data"), []byte("precious"), 0o644))
	id := roots(t, d)[needed].ID
	m.record(t, needed)

	want := map[string]string{needed: "keep: entry", free: "remove: kept by no rule", newest: "keep: newest, last"}
	if diff := cmp.Diff(want, plan(t, d)); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	_, err := d.DeleteRoots(t.Context(), anybody, []uint64{id})
	wantError(t, "delete it by hand", err, dbus.ErrProtected)
	if err == nil || !strings.Contains(err.Error(), "entry") {
		t.Errorf("the reason is not told: %v", err)
	}
	job, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
	if ended := finish(t, d, job, err); ended.Result != dbus.ResultDone {
		t.Errorf("prune: %+v", ended)
	}
	if diff := cmp.Diff([]string{needed, newest}, m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if reasons := roots(t, d)[needed].ProtectReasons; !cmp.Equal(reasons, []string{"entry"}) {
		t.Errorf("it is listed with the reasons %q", reasons)
	}

	if e := later(t, d); e.State != "missing" {
		t.Errorf("before it is in place: %+v", e)
	}
	job, err = d.ApplyPersistence(t.Context(), anybody, nil)
	if ended := finish(t, d, job, err); ended.Result != dbus.ResultDone {
		t.Errorf("apply: %+v", ended)
	}
	m.wantText(t, "persist/srv/later/data", "precious")
	m.wantText(t, "srv/later/data", "precious")
	if got := plan(t, d)[needed]; got != "remove: kept by no rule" {
		t.Errorf("when it is kept: %s", got)
	}
	job, err = d.DeleteRoots(t.Context(), anybody, []uint64{id})
	if ended := finish(t, d, job, err); ended.Result != dbus.ResultDone {
		t.Errorf("delete: %+v", ended)
	}
}

func TestAnEntryWhoseRootIsGone(t *testing.T) {
	m, d := keeping(t, "")
	needed := m.oldRoot(t, day)
	m.record(t, needed)
	btrfstest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(m.top, "old_roots", needed))
	if e := later(t, d); e.State != "failed" || e.LastError.Name != dbus.InfoOf(dbus.ErrSourceMissing).Name || !strings.Contains(e.LastError.Message, "no longer there") {
		t.Errorf("got %+v", e)
	}
	job, err := d.ApplyPersistence(t.Context(), anybody, []string{"/srv/later"})
	if ended := finish(t, d, job, err); ended.Result != dbus.ResultFailed {
		t.Errorf("apply: %+v", ended)
	}
	if _, err := os.Lstat(filepath.Join(m.sysroot, "persist/srv/later")); !os.IsNotExist(err) {
		t.Errorf("a source was made (%v)", err)
	}
}

// TestWhatMayBeTakenFromStays: while a record can't be read, each root stays that something was recorded in, and no other.
func TestWhatMayBeTakenFromStays(t *testing.T) {
	for _, how := range []string{"it is spoiled", "its volume is not mounted", "it is on another that is not"} {
		t.Run(how, func(t *testing.T) {
			m, d := keeping(t, "[retention]\nkeepLast = 1\n[ephemeral.\"/home\"]\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n")
			btrfstest.Subvolume(t, filepath.Join(m.top, "home"))
			btrfstest.Mount(t, m.device, filepath.Join(m.sysroot, "home"), "subvol=home")
			must(t, os.MkdirAll(filepath.Join(m.top, "old_homes"), 0o755))
			marked, free, newest := m.oldRoot(t, 10*day), m.oldRoot(t, 5*day), m.oldRoot(t, day)
			setAttribute(t, filepath.Join(m.top, "old_roots", marked), "recorded", "1")
			id := roots(t, d)[marked].ID
			want := map[string]string{marked: "remove: kept by no rule", free: "remove: kept by no rule", newest: "keep: newest, last"}
			if diff := cmp.Diff(want, plan(t, d)); diff != "" {
				t.Errorf("while it is known (-want +got):\n%s", diff)
			}
			switch how {
			case "it is spoiled":
				m.write(t, "persist/.impermanence/entries.toml", "directories = [ { directory = \"/srv/later\", addedIn = 3 } ]\n")
			case "its volume is not mounted":
				btrfstest.Unmount(t, filepath.Join(m.sysroot, "persist"))
			default: // what remains of it is a directory of what is fresh at each boot
				must(t, os.Mkdir(filepath.Join(m.sysroot, "home/persist"), 0o755))
				text, err := os.ReadFile(m.config)
				must(t, err)
				must(t, os.WriteFile(m.config, append(text, "[persistence.\"/home/persist\"]\n"...), 0o644))
				must(t, d.Reload(t.Context()))
			}
			want[marked] = "keep: entry"
			if diff := cmp.Diff(want, plan(t, d)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			_, err := d.DeleteRoots(t.Context(), anybody, []uint64{id})
			wantError(t, "delete it by hand", err, dbus.ErrProtected)
			job, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
			if ended := finish(t, d, job, err); ended.Result != dbus.ResultDone {
				t.Errorf("prune: %+v", ended)
			}
			if diff := cmp.Diff([]string{marked, newest}, m.rolledOver(t)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhatIsRecordedIsKnownAtOnce: the first who asks is not told that there is none, nor the first after a volume was mounted.
func TestWhatIsRecordedIsKnownAtOnce(t *testing.T) {
	m, _ := keeping(t, "")
	m.write(t, "persist/.impermanence/entries.toml", "directories = [\"/srv/later\"]\n")
	m.write(t, "persist/srv/later/data", "precious")
	recorded := func(d *daemon.Daemon) {
		t.Helper()
		orphans, err := d.Orphans(t.Context(), "")
		must(t, err)
		if len(orphans) > 0 {
			t.Errorf("orphans: %+v", orphans)
		}
		must(t, d.CheckEntryChange(t.Context(), dbus.EntryChange{Deed: dbus.RemoveEntry, Target: "/srv/later"}))
	}
	recorded(m.start(t))

	marked := m.oldRoot(t, 10*day)
	setAttribute(t, filepath.Join(m.top, "old_roots", marked), "recorded", "1")
	m.oldRoot(t, day)
	btrfstest.Unmount(t, filepath.Join(m.sysroot, "persist"))
	d := m.start(t)
	must(t, d.Rescan(t.Context()))
	btrfstest.Mount(t, m.device, filepath.Join(m.sysroot, "persist"), "subvol=persist")
	if reasons := roots(t, d)[marked].ProtectReasons; !cmp.Equal(reasons, []string{"entry"}) {
		t.Errorf("before what is on the volume is read, a root is protected by %q", reasons)
	}
	recorded(d)
	if reasons := roots(t, d)[marked].ProtectReasons; len(reasons) > 0 {
		t.Errorf("when it is read, by %q", reasons)
	}
}

// TestAWrongRecordIsLoggedOnce, however often somebody asks for a plan.
func TestAWrongRecordIsLoggedOnce(t *testing.T) {
	m, _ := keeping(t, "")
	core, logged := observer.New(zapcore.ErrorLevel)
	d := m.start(t, func(o *daemon.Options) { o.Log = zap.New(core).Sugar() })
	for _, wrong := range []string{"directories = 3", "files = 3"} {
		m.write(t, "persist/.impermanence/entries.toml", wrong)
		for range 3 {
			plan(t, d)
		}
	}
	const records = 2
	if logged.Len() != records {
		t.Errorf("%d errors are in the log", logged.Len())
	}
}
