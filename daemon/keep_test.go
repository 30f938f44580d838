package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// keeping is a machine with a persistent volume, some files and a daemon.
func keeping(t *testing.T, added string) (*machine, *daemon.Daemon) {
	t.Helper()
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\ndirectories = [\"/var/log\"]\n"+added)
	for path, text := range map[string]string{"srv/app/data": "data", "etc/app.conf": "setting", "var/log/messages": "log"} {
		m.write(t, path, text)
	}
	d := m.start(t)
	job, err := d.ApplyPersistence(t.Context(), anybody, nil)
	if ended := finish(t, d, job, err); ended.Result != dbus.ResultDone {
		t.Fatalf("apply: %+v", ended)
	}
	return m, d
}

func (m *machine) write(t testing.TB, path, text string) {
	t.Helper()
	path = filepath.Join(m.sysroot, path)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func (m *machine) wantText(t testing.TB, path, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.sysroot, path))
	if err != nil || string(data) != want {
		t.Errorf("%s holds %q (%v), want %q", path, data, err, want)
	}
}

// recorded is what is recorded on the volume, without its comment.
func (m *machine) recorded(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.sysroot, "persist/.impermanence/entries.toml"))
	if os.IsNotExist(err) {
		return ""
	}
	must(t, err)
	_, text, _ := strings.Cut(string(data), "\n")
	return text
}

func entryStates(d *daemon.Daemon) map[string]string {
	states := map[string]string{}
	for _, e := range d.Entries() {
		states[e.Target] = e.Method + " " + e.State
	}
	return states
}

func changeEntry(t testing.TB, d *daemon.Daemon, c dbus.EntryChange) dbus.Job {
	t.Helper()
	id, err := d.ChangeEntry(t.Context(), anybody, c)
	return finish(t, d, id, err)
}

func TestKeepAndForget(t *testing.T) {
	m, d := keeping(t, "")
	mode := uint32(0o600)
	for _, c := range []dbus.EntryChange{
		{Deed: dbus.AddEntry, Target: "/srv/app"},
		{Deed: dbus.AddEntry, Target: "/etc/app.conf", Volume: "/persist", Method: "bind", Mode: &mode},
	} {
		dry := c
		dry.DryRun = true
		plan := changeEntry(t, d, dry)
		if plan.Result != dbus.ResultDone || m.recorded(t) != "" && c.Target == "/srv/app" || len(entryStates(d)) > 2 {
			t.Errorf("a dry run: %+v, recorded %q, %v", plan, m.recorded(t), entryStates(d))
		}
		job := changeEntry(t, d, c)
		if job.Result != dbus.ResultDone || job.Operation != "add-persistence" || job.Objects[0] != dbus.EntryPath(c.Target) {
			t.Fatalf("add %s: %+v", c.Target, job)
		}
		if diff := cmp.Diff(plan.Details["plan"], job.Details["plan"]); diff != "" {
			t.Errorf("planned, done: %s", diff)
		}
	}
	if !hasAttribute(m.sysroot, "recorded") {
		t.Error("the root is not marked as one that something was recorded in")
	}
	in, err := btrfsops.NameOf(m.sysroot)
	must(t, err)
	addedIn := fmt.Sprintf("addedIn = { subvolume = %d, uuid = %q }", in.ID, in.UUID)
	want := "directories = [\n  { directory = \"/srv/app\", " + addedIn + " },\n]\nfiles = [\n  { file = \"/etc/app.conf\", mode = \"0600\", method = \"bind\", " + addedIn + " },\n]\n"
	if diff := cmp.Diff(want, m.recorded(t)); diff != "" {
		t.Errorf("recorded: %s", diff)
	}
	if diff := cmp.Diff(map[string]string{"/var/log": "bind in-place", "/srv/app": "bind in-place", "/etc/app.conf": "bind in-place"}, entryStates(d)); diff != "" {
		t.Errorf("entries: %s", diff)
	}
	m.wantText(t, "persist/srv/app/data", "data")
	m.write(t, "srv/app/data", "changed")
	// Another start reads what is recorded.
	if diff := cmp.Diff(entryStates(d), entryStates(m.start(t))); diff != "" {
		t.Errorf("another daemon sees %s", diff)
	}

	job := changeEntry(t, d, dbus.EntryChange{Deed: dbus.UnmountEntry, Target: "/srv/app"})
	if state := entryStates(d)["/srv/app"]; job.Result != dbus.ResultDone || state == "bind in-place" {
		t.Errorf("unmount: %+v, %s", job, state)
	}
	id, err := d.ApplyPersistence(t.Context(), anybody, []string{"/srv/app"})
	finish(t, d, id, err)
	for _, target := range []string{"/srv/app", "/etc/app.conf"} {
		if job := changeEntry(t, d, dbus.EntryChange{Deed: dbus.RemoveEntry, Target: target}); job.Result != dbus.ResultDone {
			t.Errorf("remove %s: %+v", target, job)
		}
	}
	m.wantText(t, "srv/app/data", "changed")
	m.wantText(t, "persist/srv/app/data", "changed")
	if m.recorded(t) != "" || len(entryStates(d)) != 1 {
		t.Errorf("still recorded: %q, %v", m.recorded(t), entryStates(d))
	}
	m.write(t, "srv/app/data", "of the root alone")
	m.wantText(t, "persist/srv/app/data", "changed")
	orphans, err := d.Orphans(t.Context(), "/persist")
	if want := []dbus.Orphan{{Path: "/persist/etc", Kind: "directory", Volume: "/persist"}, {Path: "/persist/srv", Kind: "directory", Volume: "/persist"}}; err != nil || !slices.Equal(orphans, want) {
		t.Errorf("orphans %q, %v", orphans, err)
	}
}

// TestWhatTheTemplateHasIsNoConflict: nor is it for a daemon that puts entries in place itself, and sees what is below them.
func TestWhatTheTemplateHasIsNoConflict(t *testing.T) {
	m := newMachine(t)
	m.write(t, "etc/app.conf", "as in the template")
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", m.sysroot, filepath.Join(m.top, "root-template"))
	must(t, btrfsops.WriteBootRecords(m.runDir, []btrfsops.BootRecord{{
		MountPoint: "/", Outcome: btrfsops.OutcomeFresh, Device: m.device, Report: btrfsops.RolloverReport{Source: "root-template"},
	}}))
	m.configure(t, "[persistence.\"/persist\"]\nfiles = [\"/etc/app.conf\"]\n")
	m.write(t, "persist/etc/app.conf", "changed and kept")
	d := m.start(t)
	id, err := d.ApplyPersistence(t.Context(), anybody, nil)
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone {
		t.Errorf("job %+v", job)
	}
	if entries := d.Entries(); len(entries) != 1 || entries[0].State != "in-place" {
		t.Errorf("entries %+v", entries)
	}
}

func TestKeepAndForgetAtTheNextBoot(t *testing.T) {
	m, d := keeping(t, "")
	f, err := os.OpenFile(filepath.Join(m.sysroot, "srv/app/data"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer f.Close()
	now := changeEntry(t, d, dbus.EntryChange{Deed: dbus.AddEntry, Target: "/srv/app"})
	writers, _ := now.Details["writers"].([]string)
	if now.Result != dbus.ResultFailed || now.Error.Name != "org.impermanence1.Error.MountBusy" || len(writers) != 1 || !strings.HasSuffix(writers[0], fmt.Sprintf("[%d])", os.Getpid())) {
		t.Errorf("with a file open for writing: %+v", now)
	}
	if m.recorded(t) != "" {
		t.Errorf("refused, and recorded: %q", m.recorded(t))
	}
	next := dbus.EntryChange{Deed: dbus.AddEntry, Target: "/srv/app", NextBoot: true}
	if job := changeEntry(t, d, next); job.Result != dbus.ResultDone {
		t.Errorf("at the next boot: %+v", job)
	}
	if diff := cmp.Diff(map[string]string{"/var/log": "bind in-place", "/srv/app": "bind next-boot"}, entryStates(d)); diff != "" {
		t.Errorf("entries: %s", diff)
	}
	if _, err := os.Stat(filepath.Join(m.sysroot, "persist/srv")); !os.IsNotExist(err) {
		t.Errorf("something was copied: %v", err)
	}
	next.Deed = dbus.RemoveEntry
	if job := changeEntry(t, d, next); job.Result != dbus.ResultDone || m.recorded(t) != "" {
		t.Errorf("taken back: %+v, %q", job, m.recorded(t))
	}
	m.wantText(t, "srv/app/data", "data")
}

func TestChangesThatAreRefused(t *testing.T) {
	m, d := keeping(t, "files = [\"/srv/other/file\"]\n[persistence.\"/nix\"]\n")
	m.write(t, "srv/link/x", "x")
	must(t, os.Symlink("x", filepath.Join(m.sysroot, "srv/link/to")))
	m.write(t, "persist/srv/both", "kept")
	m.write(t, "srv/both", "other")
	must(t, os.Mkdir(filepath.Join(m.sysroot, "tmp"), 0o755))
	must(t, unix.Mount("tmpfs", filepath.Join(m.sysroot, "tmp"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(m.sysroot, "tmp"), 0)) })
	m.write(t, "tmp/file", "data")
	before := describeTree(t, m.sysroot)
	for name, c := range map[string]struct {
		change dbus.EntryChange
		want   error // before a job is made
		ends   string
		says   string
	}{
		"relative":        {dbus.EntryChange{Target: "srv", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "absolute path"},
		"unclean":         {dbus.EntryChange{Target: "/srv/../etc", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "absolute path"},
		"the root":        {dbus.EntryChange{Target: "/", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "below /"},
		"not UTF-8":       {dbus.EntryChange{Target: "/srv/\xff", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "UTF-8"},
		"no volume":       {dbus.EntryChange{Target: "/srv/app", Volume: "/data"}, dbus.ErrInvalidArgs, "", `"/data"`},
		"which volume":    {dbus.EntryChange{Target: "/srv/app"}, dbus.ErrInvalidArgs, "", "say on which volume: /nix, /persist"},
		"kept already":    {dbus.EntryChange{Target: "/var/log", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "an entry already, from "},
		"inside":          {dbus.EntryChange{Target: "/var/log/a", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "a part of /var/log"},
		"around":          {dbus.EntryChange{Target: "/srv/other", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "the entry /srv/other/file is inside it"},
		"the volume":      {dbus.EntryChange{Target: "/persist", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "lie in one another"},
		"on the volume":   {dbus.EntryChange{Target: "/persist/x", Volume: "/persist"}, dbus.ErrInvalidArgs, "", "lie in one another"},
		"method":          {dbus.EntryChange{Target: "/srv/app", Volume: "/persist", Method: "rsync"}, dbus.ErrInvalidArgs, "", "rsync"},
		"kind":            {dbus.EntryChange{Target: "/srv/app", Volume: "/persist", Kind: "socket"}, dbus.ErrInvalidArgs, "", "socket"},
		"nothing there":   {dbus.EntryChange{Target: "/srv/none", Volume: "/persist"}, nil, "SourceMissing", "/srv/none"},
		"a symlink":       {dbus.EntryChange{Target: "/srv/link/to", Volume: "/persist"}, nil, "TargetConflict", "a symlink"},
		"copy of a tree":  {dbus.EntryChange{Target: "/srv/app", Volume: "/persist", Method: "copy"}, nil, "InvalidArgs", "is for files"},
		"user":            {dbus.EntryChange{Target: "/srv/app", Volume: "/persist", User: "a:b"}, nil, "InvalidArgs", "not a name"},
		"other volume":    {dbus.EntryChange{Target: "/srv/app", Volume: "/nix"}, nil, "SourceMissing", "not mounted"},
		"conflict":        {dbus.EntryChange{Target: "/srv/both", Volume: "/persist"}, nil, "TargetConflict", "/srv/both"},
		"not of the root": {dbus.EntryChange{Target: "/tmp/file", Volume: "/persist", NextBoot: true}, nil, "NotSupported", "is on what is mounted at /tmp"},
		"remove what not": {dbus.EntryChange{Deed: dbus.RemoveEntry, Target: "/srv/app"}, dbus.ErrNoSuchEntry, "", ""},
		"remove from configuration": {
			dbus.EntryChange{Deed: dbus.RemoveEntry, Target: "/var/log"}, dbus.ErrNotSupported, "", "impermanence.toml:5",
		},
		"unmount what not": {dbus.EntryChange{Deed: dbus.UnmountEntry, Target: "/srv/app"}, dbus.ErrNoSuchEntry, "", ""},
		"unknown deed":     {dbus.EntryChange{Deed: "shred", Target: "/srv/app"}, dbus.ErrInvalidArgs, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.change.Deed == "" {
				c.change.Deed = dbus.AddEntry
			}
			id, err := d.ChangeEntry(t.Context(), anybody, c.change)
			text := fmt.Sprint(err)
			if c.want != nil {
				wantError(t, "change", err, c.want)
				wantError(t, "check", d.CheckEntryChange(t.Context(), c.change), c.want)
			} else {
				job := finish(t, d, id, err)
				text = job.Error.Message
				if job.Result != dbus.ResultFailed || !strings.HasSuffix(job.Error.Name, "."+c.ends) {
					t.Errorf("ended as %+v, want %s", job, c.ends)
				}
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("says %q, want %q", text, c.says)
			}
		})
	}
	if diff := cmp.Diff(before, describeTree(t, m.sysroot)); diff != "" {
		t.Errorf("what was refused changed something: %s", diff)
	}
}

// describeTree lists all below a directory, with owners, modes and sizes.
func describeTree(t testing.TB, dir string) string {
	t.Helper()
	return btrfstest.Run(t, "find", dir, "-printf", "%P %M %U:%G %s %l\n")
}

// lasting is a context that ends when it was asked some times.
type lasting struct {
	context.Context
	left int
}

func (c *lasting) Err() error {
	if c.left--; c.left >= 0 {
		return nil
	}
	return context.Canceled
}

// What somebody looked at who has left meanwhile is as it was seen before.
func TestLookThatIsCanceled(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\ndirectories = [\"/srv/app\"]\n")
	m.write(t, "srv/app/data", "data")
	m.write(t, "persist/srv/app/data", "data")
	d := m.start(t)
	before, canceled := d.Entries(), 0
	for left := range 10 {
		if err := d.Rescan(&lasting{t.Context(), left}); errors.Is(err, context.Canceled) {
			canceled++
		} else if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(before, d.Entries()); diff != "" {
			t.Errorf("canceled when it was asked %d times: %s", left+1, diff)
		}
	}
	if canceled == 0 {
		t.Error("nothing was canceled")
	}
}

// What is recorded wrongly keeps the rest in force, is told, and is not written over.
func TestWrongRecord(t *testing.T) {
	m, d := keeping(t, "")
	const wrong = "# by hand\ndirectries = [\"/srv/app\"]\n"
	m.write(t, "persist/.impermanence/entries.toml", wrong)
	must(t, d.Rescan(t.Context()))
	if said := strings.Join(d.Manager().ConfigurationErrors, "\n"); !strings.Contains(said, "entries.toml:2") || !strings.Contains(said, "directories") {
		t.Errorf("said: %q", said)
	}
	if diff := cmp.Diff(map[string]string{"/var/log": "bind in-place"}, entryStates(d)); diff != "" {
		t.Errorf("entries: %s", diff)
	}
	job := changeEntry(t, d, dbus.EntryChange{Deed: dbus.AddEntry, Target: "/srv/app"})
	if !strings.HasSuffix(job.Error.Name, ".InvalidConfiguration") {
		t.Errorf("ended as %+v", job)
	}
	m.wantText(t, "persist/.impermanence/entries.toml", wrong)
	_, err := d.Orphans(t.Context(), "")
	wantError(t, "orphans", err, dbus.ErrInvalidConfiguration)
	must(t, os.Remove(filepath.Join(m.sysroot, "persist/.impermanence/entries.toml")))
	must(t, d.Rescan(t.Context()))
	if said := d.Manager().ConfigurationErrors; len(said) > 0 {
		t.Errorf("still said: %q", said)
	}
}

// From its sandbox the daemon leaves a request for a service and reads the answer: the two programs understand each other.
func TestChangeThroughFiles(t *testing.T) {
	m, _ := keeping(t, "")
	program := build(t)
	request := map[string]any{"id": "7", "deed": "add", "target": "/srv/app", "method": "auto"}
	data, err := json.Marshal(request)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(m.runDir, "change-request.json"), data, 0o600))
	btrfstest.Run(t, program, "change", "--config="+m.config, "--sysroot="+m.sysroot, "--run-dir="+m.runDir)
	answer, err := os.ReadFile(filepath.Join(m.runDir, "change-reply.json"))
	must(t, err)
	var reply struct{ ID, Done, Error string }
	must(t, json.Unmarshal(answer, &reply))
	if reply.ID != "7" || reply.Done != "seeded, bound" || reply.Error != "" {
		t.Errorf("answer %s", answer)
	}
	m.wantText(t, "persist/srv/app/data", "data")
}
