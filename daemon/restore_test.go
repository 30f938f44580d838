package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
)

// overBus serves a daemon on a bus of its own, to root alone, and returns a client.
func overBus(t *testing.T, d *daemon.Daemon) *dbus.Client {
	t.Helper()
	address := bustest.Start(t)
	server := dbus.NewServer(dbus.ServerConfig{
		Address: address, Backend: d, Authorizer: dbus.RootAlone{}, StreamDir: filepath.Join(bustest.PublicDir(t), "streams"),
	})
	d.OnChange(server.Changed)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-server.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: address})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// fill writes files of an old root, or of the running root when the name is empty.
func (m *machine) fill(t testing.TB, root string, files map[string]string) {
	t.Helper()
	dir := m.sysroot
	if root != "" {
		dir = filepath.Join(m.top, "old_roots", root)
	}
	for name, text := range files {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

// gather reads all results, with how their job ended.
func gather[T any](t *testing.T, c *dbus.Client, results *dbus.Results[T], err error) ([]T, dbus.Job) {
	t.Helper()
	must(t, err)
	defer func() { _ = results.Close() }()
	var all []T
	for r, err := range results.All(t.Context()) {
		if err != nil {
			t.Logf("results: %v", err)
			break
		}
		all = append(all, r)
	}
	job, err := c.Wait(t.Context(), results.Job(), nil)
	must(t, err)
	return all, job
}

func restoredLines(results []dbus.RestoreResult) []string {
	var lines []string
	for _, r := range results {
		line := fmt.Sprintf("%s %s %d", r.Action, r.Target, r.Entries)
		if r.Error != nil {
			line += " " + r.Error.Name
		}
		lines = append(lines, line)
	}
	return lines
}

func TestRestore(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	m.fill(t, old, map[string]string{"etc/app/config": "old", "etc/app/gone": "gone", "home/u/a": "a", "home/u/b": "b"})
	m.fill(t, "", map[string]string{"etc/app/config": "new"})
	d := m.start(t)
	c := overBus(t, d)
	id := roots(t, d)[old].ID

	options := dbus.RestoreOptions{Paths: []string{"/etc/app", "/home/u/"}, DryRun: true}
	results, err := c.Restore(t.Context(), id, options)
	dry, job := gather(t, c, results, err)
	want := []string{"replaced /etc/app/config 1", "restored /etc/app/gone 1", "restored /home/u 3"}
	if diff := cmp.Diff(want, restoredLines(dry)); diff != "" || job.Result != dbus.ResultDone {
		t.Errorf("dry run, %s: %s", job.Result, diff)
	}
	if _, err := os.Stat(filepath.Join(m.sysroot, "home")); err == nil {
		t.Error("a dry run has restored something")
	}

	options.DryRun = false
	results, err = c.Restore(t.Context(), id, options)
	all, job := gather(t, c, results, err)
	if diff := cmp.Diff(want, restoredLines(all)); diff != "" {
		t.Error(diff)
	}
	wantDetails := dbus.Details{"restored": uint64(2), "replaced": uint64(1), "same": uint64(0), "bytes": uint64(9)}
	if diff := cmp.Diff(wantDetails, job.Details); diff != "" || job.Result != dbus.ResultDone || job.Operation != "restore" {
		t.Errorf("ended as %+v: %s", job, diff)
	}
	for name, want := range map[string]string{"etc/app/config": "old", "etc/app/config.impermanence-conflict": "new", "etc/app/gone": "gone", "home/u/b": "b"} {
		if got, err := os.ReadFile(filepath.Join(m.sysroot, name)); string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if all[0].Aside != "/etc/app/config.impermanence-conflict" || all[0].Path != "/etc/app/config" {
		t.Errorf("told as %+v", all[0])
	}

	results, err = c.Restore(t.Context(), id, dbus.RestoreOptions{Paths: []string{"/etc/app/gone", "/etc/nothing"}, To: "/srv/back"})
	all, job = gather(t, c, results, err)
	want = []string{"restored /srv/back/gone 1", "failed /srv/back/nothing 0 org.impermanence1.Error.SourceMissing"}
	if diff := cmp.Diff(want, restoredLines(all)); diff != "" {
		t.Error(diff)
	}
	if failed, _ := job.Details["failed"].([]string); job.Result != dbus.ResultPartial || len(failed) != 1 || !strings.Contains(failed[0], "/srv/back/nothing") {
		t.Errorf("ended as %+v", job)
	}
}

// What can't be is refused before anybody is asked, and before a stream is opened.
func TestRestoreIsRefused(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	d := m.start(t)
	c := overBus(t, d)
	id := roots(t, d)[old].ID
	for name, o := range map[string]dbus.RestoreOptions{
		"no path":       {},
		"relative":      {Paths: []string{"etc"}},
		"relative to":   {Paths: []string{"/etc"}, To: "srv"},
		"one name":      {Paths: []string{"/etc/a", "/srv/a"}, To: "/tmp"},
		"twice":         {Paths: []string{"/etc/a", "/etc/../etc/a/"}},
		"too many":      {Paths: slicesRepeat("/a", 1001)},
		"with a zero":   {Paths: []string{"/a\x00b"}},
		"longer than a": {Paths: []string{"/" + strings.Repeat("x", 5000)}},
	} {
		if _, err := c.Restore(t.Context(), id, o); !errors.Is(err, dbus.ErrInvalidArgs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Restore(t.Context(), 4711, dbus.RestoreOptions{Paths: []string{"/etc"}}); !errors.Is(err, dbus.ErrNoSuchRoot) {
		t.Errorf("unknown root: %v", err)
	}
	if jobs := d.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs: %+v", jobs)
	}
}

func slicesRepeat(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint(s, i)
	}
	return all
}

// A reader that goes away ends the telling, not the restoring.
func TestRestoreGoesOnWithoutItsReader(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	files := map[string]string{}
	for i := range 3000 {
		files[fmt.Sprintf("srv/%04d/%s", i, strings.Repeat("n", 200))] = "x"
	}
	m.fill(t, old, files)
	for i := range 3000 {
		must(t, os.MkdirAll(filepath.Join(m.sysroot, fmt.Sprintf("srv/%04d", i)), 0o755))
	}
	d := m.start(t)
	c := overBus(t, d)
	results, err := c.Restore(t.Context(), roots(t, d)[old].ID, dbus.RestoreOptions{Paths: []string{"/srv"}})
	must(t, err)
	must(t, results.Close())
	job, err := c.Wait(t.Context(), results.Job(), nil)
	must(t, err)
	if job.Result != dbus.ResultDone || job.Details["restored"] != uint64(3000) {
		t.Errorf("ended as %+v", job)
	}
}

// While a restore runs nothing deletes what it reads.
func TestRestoreKeepsPruneAway(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, day)
	m.oldRoot(t, 0)
	m.fill(t, old, map[string]string{"etc/a": "a"})
	held, let := make(chan struct{}), make(chan struct{})
	d := m.start(t, func(o *daemon.Options) { o.Restorer = holding{held, let} })
	c := overBus(t, d)
	id := roots(t, d)[old].ID
	results, err := c.Restore(t.Context(), id, dbus.RestoreOptions{Paths: []string{"/etc"}})
	must(t, err)
	<-held
	_, err = c.DeleteRoots(t.Context(), []uint64{id})
	wantError(t, "delete meanwhile", err, dbus.ErrBusy)
	close(let)
	if _, job := gather(t, c, results, nil); job.Result != dbus.ResultDone {
		t.Errorf("ended as %+v", job)
	}
}

// holding is a restorer that waits.
type holding struct{ held, let chan struct{} }

func (h holding) Restore(context.Context, daemon.RestoreRequest, func(daemon.RestoreNews)) error {
	close(h.held)
	<-h.let
	return nil
}

func TestListVersions(t *testing.T) {
	m := newMachine(t)
	one, two, three, four := m.oldRoot(t, 5*day), m.oldRoot(t, 4*day), m.oldRoot(t, 3*day), m.oldRoot(t, 2*day)
	m.fill(t, one, map[string]string{"etc/app": "first"})
	m.fill(t, two, map[string]string{"etc/app": "other"})
	m.fill(t, four, map[string]string{"etc/app": "first"})
	must(t, os.Symlink("/elsewhere", filepath.Join(m.top, "old_roots", three, "etc")))
	must(t, os.Lchown(filepath.Join(m.top, "old_roots", three, "etc"), 1000, 1000))
	m.fill(t, "", map[string]string{"etc/app": "first"})
	must(t, os.Chmod(filepath.Join(m.sysroot, "etc/app"), 0o600))
	d := m.start(t)
	c := overBus(t, d)
	results, err := c.ListVersions(t.Context(), "/etc/app")
	versions, job := gather(t, c, results, err)
	var got []string
	for _, v := range versions {
		line := fmt.Sprintf("%s %d %s %d %04o", v.Name, v.Version, v.Kind, v.Size, v.Mode)
		if v.Error != nil {
			line += " " + v.Error.Name
		}
		got = append(got, line)
	}
	want := []string{
		one + " 1 file 5 0644", two + " 2 file 5 0644", three + " 0 absent 0 0000 org.impermanence1.Error.InvalidConfiguration",
		four + " 1 file 5 0644", " 3 file 5 0600",
	}
	if diff := cmp.Diff(want, got); diff != "" || job.Result != dbus.ResultDone {
		t.Errorf("ended as %s: %s", job.Result, diff)
	}
	if versions[0].Root != roots(t, d)[one].ID || versions[0].ModifiedUSec == 0 || versions[4].Root != 0 {
		t.Errorf("%+v", versions)
	}
	results, err = c.ListVersions(t.Context(), "/etc")
	versions, _ = gather(t, c, results, err)
	if len(versions) != 5 || versions[2].Kind != "symlink" || versions[2].Link != "/elsewhere" || versions[0].Kind != "directory" {
		t.Errorf("of a directory: %+v", versions)
	}
}

// With two ephemeral mount points a path belongs to the roots of the inner one.
func TestRestoreOfTwoPlaces(t *testing.T) {
	m, home := newMachine(t), newMachine(t)
	btrfstest.Mount(t, home.device, filepath.Join(m.sysroot, "home"), "subvol=root")
	must(t, os.WriteFile(m.config, fmt.Appendf(nil, "[ephemeral.\"/\"]\ndevice = %q\n[ephemeral.\"/home\"]\ndevice = %q\n", m.device, home.device), 0o644))
	m.oldRoot(t, day)
	there := home.oldRoot(t, 2*day)
	home.fill(t, there, map[string]string{"u/file": "x"})
	d := m.start(t)
	c := overBus(t, d)
	var id uint64
	for _, r := range roots(t, d) {
		id = max(id, r.ID)
	}
	if _, err := c.Restore(t.Context(), id, dbus.RestoreOptions{Paths: []string{"/etc"}}); !errors.Is(err, dbus.ErrInvalidArgs) {
		t.Errorf("a path that is not of this place: %v", err)
	}
	results, err := c.Restore(t.Context(), id, dbus.RestoreOptions{Paths: []string{"/home/u"}})
	all, job := gather(t, c, results, err)
	if diff := cmp.Diff([]string{"restored /home/u 2"}, restoredLines(all)); diff != "" || job.Result != dbus.ResultDone {
		t.Errorf("%+v: %s", job, diff)
	}
	if all[0].Path != "/home/u" {
		t.Errorf("told as %+v", all[0])
	}
	found, err := c.ListVersions(t.Context(), "/home/u/file")
	versions, _ := gather(t, c, found, err)
	if len(versions) != 2 || versions[0].Version != 1 || versions[1].Version != 1 {
		t.Errorf("versions: %+v", versions)
	}
}
