package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func (m *machine) lose(t *testing.T, name string, size int) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(m.sysroot, name), make([]byte, size), 0o600))
}

// What the next boot will lose is found in the background, told, and found anew when somebody asks to look again; no answer
// waits for it, and a daemon that is started later knows it at once.
func TestLossesAreFoundInTheBackground(t *testing.T) {
	m := newMachine(t)
	btrfstest.Mount(t, m.device, filepath.Join(m.runDir, "top"), "subvolid=5")
	m.lose(t, "one", 1000)
	w := m.watch(t)
	first := w.Manager().Losses
	if first != (dbus.Losses{}) {
		t.Errorf("the first answer has losses: %+v", first)
	}
	must(t, w.Rescan(t.Context()))
	w.until(t, "losses were counted", func() bool { first = w.Manager().Losses; return !first.Looked.IsZero() })
	if first.Count == 0 || first.Bytes < 1000 || !first.Looked.Equal(now) {
		t.Errorf("losses: %+v", first)
	}
	m.lose(t, "two", 500)
	must(t, w.Rescan(t.Context()))
	want := dbus.Losses{Count: first.Count + 1, Bytes: first.Bytes + 500, Looked: first.Looked}
	w.until(t, "a file was written", func() bool { return w.Manager().Losses == want })

	if later := m.start(t).Manager().Losses; later.Count != want.Count || later.Bytes != want.Bytes || !later.Looked.Equal(want.Looked) {
		t.Errorf("a daemon that was started later tells %+v, want %+v", later, want)
	}
	if left := m.rolledOver(t); len(left) != 0 {
		t.Errorf("the searches leave %q", left)
	}
}

// They are looked for when the root has changed, and only then; never when somebody asked for nothing to be done.
func TestLossesAreFoundWhenTheRootHasChanged(t *testing.T) {
	m := newMachine(t)
	renew := func(d *daemon.Daemon) (told bool, l dbus.Losses) {
		t.Helper()
		d.Manager() // it looks
		d.OnChange(func(dbus.Change) { told = true })
		must(t, d.RenewLosses(t.Context()))
		return told, d.Manager().Losses
	}
	d := m.start(t)
	if told, l := renew(d); told || !l.Looked.IsZero() {
		t.Errorf("a file system was mounted for it: %+v", l)
	}
	btrfstest.Mount(t, m.device, filepath.Join(m.runDir, "top"), "subvolid=5")
	must(t, btrfsops.WriteBootRecords(m.runDir, []btrfsops.BootRecord{{MountPoint: "/", Outcome: btrfsops.OutcomeSkipped}}))
	if told, _ := renew(m.start(t)); told {
		t.Error("it searches although somebody asked for nothing to be done")
	}
	must(t, os.Remove(filepath.Join(m.runDir, btrfsops.BootRecordName)))
	if told, l := renew(d); !told || l.Looked.IsZero() {
		t.Errorf("the first search: told %v, %+v", told, l)
	}
	if told, _ := renew(d); told {
		t.Error("it searches again, and nothing has changed")
	}
	m.lose(t, "file", 10)
	if told, l := renew(d); !told || l.Bytes < 10 {
		t.Errorf("after a change: told %v, %+v", told, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.lose(t, "other", 10)
	if err := d.RenewLosses(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a search that is ended: %v", err)
	}
}

// A boot that keeps the root loses nothing; what was found before holds again when it does not. What was found in another
// root is not told, nor what a file says that nobody wrote.
func TestLossesAreThoseOfTheNextBoot(t *testing.T) {
	m := newMachine(t)
	btrfstest.Mount(t, m.device, filepath.Join(m.runDir, "top"), "subvolid=5")
	m.lose(t, "file", 10)
	d := m.start(t)
	d.Manager()
	must(t, d.RenewLosses(t.Context()))
	found := d.Manager().Losses
	must(t, d.SetNextBoot(t.Context(), btrfsops.NextKeep))
	must(t, d.RenewLosses(t.Context()))
	if l := d.Manager().Losses; l != (dbus.Losses{}) || found == l {
		t.Errorf("a boot that keeps the root loses %+v, another one %+v", l, found)
	}
	must(t, d.SetNextBoot(t.Context(), btrfsops.NextFresh))
	if l := d.Manager().Losses; l != found {
		t.Errorf("losses: %+v, want %+v", l, found)
	}
	for _, text := range []string{"", "[]", `{"booted": 1, "next": "fresh", "count": 7, "time": "2026-01-01T00:00:00Z"}`} {
		must(t, os.WriteFile(filepath.Join(m.runDir, "losses.json"), []byte(text), 0o600))
		if l := m.start(t).Manager().Losses; l != (dbus.Losses{}) {
			t.Errorf("%q: %+v", text, l)
		}
	}
}

// The old root that the next boot was to boot may be gone: that boot uses the request up and keeps the root, and losses are what the fresh
// root after it will not have.
func TestLossesWhenTheNextRootIsGone(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	m.lose(t, "one", 1000)
	d := m.start(t, func(o *daemon.Options) { o.Top = m.top })
	must(t, d.SetNextBoot(t.Context(), strconv.FormatUint(roots(t, d)[old].ID, 10)))
	btrfstest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(m.top, "old_roots", old))
	must(t, d.Rescan(t.Context()))
	must(t, d.RenewLosses(t.Context()))
	if found := d.Manager(); found.NextBoot != "fresh" || found.Losses.Count == 0 {
		t.Errorf("next is %s, with %+v", found.NextBoot, found.Losses)
	}
}
