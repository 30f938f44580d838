package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
)

// build compiles the daemon and returns where it is.
func build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "impermanenced")
	btrfstest.Run(t, "go", "build", "-o", binary, "github.com/impermanence/impermanence/cmd/impermanenced")
	return binary
}

// service is the daemon as a process, with the bus and the service manager that it talks to.
type service struct {
	binary, bus string
	machine     *machine
	systemd     *manager
	process     *exec.Cmd
}

func newService(t *testing.T, m *machine) *service {
	t.Helper()
	s := &service{binary: build(t), bus: bustest.Start(t), machine: m, systemd: listen(t)}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.bus)
	return s
}

// start starts the daemon and waits until it is ready.
func (s *service) start(t *testing.T) {
	t.Helper()
	m := s.machine
	s.process = exec.Command(s.binary, "--config="+m.config, "--run-dir="+m.runDir, "--sysroot="+m.sysroot, "--top="+m.top, "--log-level=debug")
	s.process.Stderr = os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, s.process.Start())
	process := s.process
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	s.systemd.until(t, "READY=1")
}

// stop ends the daemon as a service manager does.
func (s *service) stop(t *testing.T) {
	t.Helper()
	must(t, s.process.Process.Signal(syscall.SIGTERM))
	s.systemd.until(t, "STOPPING=1")
	must(t, s.process.Wait())
}

func (s *service) client(t *testing.T) *dbus.Client {
	t.Helper()
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: s.bus})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// await waits for a job over the bus.
func await(t *testing.T, c *dbus.Client, id uint64, err error) dbus.Job {
	t.Helper()
	must(t, err)
	job, err := c.Wait(t.Context(), id, nil)
	must(t, err)
	return job
}

// listed are the names that the bus lists.
func listed(t *testing.T, c *dbus.Client) map[string]uint64 {
	t.Helper()
	list, err := c.ListRoots(t.Context(), dbus.RootFilter{})
	must(t, err)
	ids := map[string]uint64{}
	for _, r := range list {
		ids[r.Name] = r.ID
	}
	return ids
}

// The whole story, with the real daemon on a real bus: snapshot, list, plan, prune, refusals, reload, restart.
func TestEndToEnd(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[retention]\nkeepWithin = \"30d\"\n\n[persistence.\"/persist\"]\ndirectories = [\"/var/log\"]\nfiles = [\"/etc/machine-id\"]\n")
	must(t, os.MkdirAll(filepath.Join(m.sysroot, "var/log"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.sysroot, "var/log/messages"), []byte("kept"), 0o644))
	expired := m.oldRoot(t, 31*day, "var/lib/machines/a", "var/lib/machines/a/b", "srv")
	young := m.oldRoot(t, 29*day, "srv")
	newest := m.oldRoot(t, time.Hour)
	s := newService(t, m)
	s.start(t)
	c := s.client(t)

	about, err := c.Manager(t.Context())
	must(t, err)
	if about.NextBoot != "fresh" || about.BootedRoot != subvolumeID(t, m.sysroot) || len(about.Filesystem) != 36 {
		t.Errorf("manager: %+v", about)
	}

	id, err := c.CreateSnapshot(t.Context(), "before")
	snapshot := await(t, c, id, err)
	name, _ := snapshot.Details["name"].(string)
	if snapshot.Result != dbus.ResultDone || listed(t, c)[name] == 0 {
		t.Fatalf("snapshot ended as %+v; listed: %v", snapshot, listed(t, c))
	}

	plan, err := c.PlanPrune(t.Context(), dbus.PruneOptions{})
	must(t, err)
	var removals []string
	for _, item := range plan {
		if item.Remove {
			removals = append(removals, item.Name)
		}
	}
	if diff := cmp.Diff([]string{expired}, removals); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}

	_, err = c.DeleteRoots(t.Context(), []uint64{listed(t, c)[expired], listed(t, c)[newest]})
	wantError(t, "delete a protected one", err, dbus.ErrProtected)
	if err == nil || !strings.Contains(err.Error(), "newest") {
		t.Errorf("%v does not say why", err)
	}

	id, err = c.Prune(t.Context(), dbus.PruneOptions{Wait: true})
	if job := await(t, c, id, err); job.Result != dbus.ResultDone || job.Progress != 1 {
		t.Fatalf("prune ended as %+v", job)
	}
	left := []string{young, newest, name}
	slices.Sort(left)
	if diff := cmp.Diff(left, m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}

	m.configure(t, "[retention]\nkeepWithn = \"30d\"\n")
	wantError(t, "reload", c.Reload(t.Context()), dbus.ErrInvalidConfiguration)
	about, err = c.Manager(t.Context())
	must(t, err)
	if len(about.ConfigurationErrors) != 1 || !strings.Contains(about.ConfigurationErrors[0], "keepWithin") {
		t.Errorf("configuration errors: %q", about.ConfigurationErrors)
	}

	before := listed(t, c)
	s.stop(t)
	m.configure(t, "[retention]\nkeepLast = 1\n")
	s.start(t)
	c = s.client(t)
	if diff := cmp.Diff(before, listed(t, c)); diff != "" {
		t.Errorf("listed after a restart (-before +after):\n%s", diff)
	}
	about, err = c.Manager(t.Context())
	must(t, err)
	if len(about.ConfigurationErrors) != 0 || about.LastPrune.IsZero() {
		t.Errorf("manager after a restart: %+v", about)
	}
	s.stop(t)
}

// Entries are put in place by the daemon itself where no service manager could be asked: seeded from what is there, shown
// as they stand.
func TestEndToEndPersistence(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\ndirectories = [\"/var/log\", \"/srv\"]\n")
	must(t, os.MkdirAll(filepath.Join(m.sysroot, "var/log"), 0o755))
	must(t, os.WriteFile(filepath.Join(m.sysroot, "var/log/messages"), []byte("kept"), 0o644))
	s := newService(t, m)
	s.start(t)
	c := s.client(t)
	states := func() map[string]string {
		entries, err := c.Entries(t.Context())
		must(t, err)
		byTarget := map[string]string{}
		for _, e := range entries {
			byTarget[e.Target] = e.State
		}
		return byTarget
	}
	if diff := cmp.Diff(map[string]string{"/srv": "missing", "/var/log": "missing"}, states()); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
	_, err := c.ApplyPersistence(t.Context(), []string{"/var/log", "/nowhere"})
	wantError(t, "an entry that is not configured", err, dbus.ErrNoSuchEntry)

	id, err := c.ApplyPersistence(t.Context(), nil)
	if job := await(t, c, id, err); job.Result != dbus.ResultDone || job.Details["placed"] != uint64(2) {
		t.Fatalf("ended as %+v", job)
	}
	if diff := cmp.Diff(map[string]string{"/srv": "in-place", "/var/log": "in-place"}, states()); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(m.top, "persist/var/log/messages"))
	if err != nil || string(data) != "kept" {
		t.Errorf("on the volume: %q, %v", data, err)
	}
	s.stop(t)
}

// A client that waits sees progress, and may go; a job outlives it.
func TestEndToEndJobOutlivesItsClient(t *testing.T) {
	m := newMachine(t)
	for age := range 40 {
		m.oldRoot(t, time.Duration(100-age)*day, "srv")
	}
	s := newService(t, m)
	s.start(t)
	one := uint32(1)
	ctx, hangUp := context.WithCancel(t.Context())
	gone, err := dbus.NewClient(ctx, dbus.ClientOptions{Address: s.bus})
	must(t, err)
	id, err := gone.Prune(ctx, dbus.PruneOptions{KeepLast: &one})
	must(t, err)
	hangUp()
	c := s.client(t)
	if job := await(t, c, id, nil); job.Result != dbus.ResultDone || job.ItemsDone != 39 {
		t.Errorf("ended as %+v", job)
	}
	s.stop(t)
}

// What is wrong with the call of the program itself is said in one line, with exit code 2; what is wrong with the bus, 1.
func TestEndToEndUsage(t *testing.T) {
	binary := build(t)
	for _, c := range []struct {
		args []string
		env  string
		code int
		says string
	}{
		{[]string{"--log-level=loud"}, "", 2, "log level"},
		{[]string{"extra"}, "", 2, `unexpected argument "extra"`},
		{[]string{"--version"}, "", 0, "unknown"},
		{nil, "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere", 1, "/nowhere"},
	} {
		cmd := exec.Command(binary, c.args...)
		cmd.Env = append(os.Environ(), c.env)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if code != c.code || !strings.Contains(string(out), c.says) {
			t.Errorf("%s: exit %d, want %d; says %q", fmt.Sprint(c.args), code, c.code, out)
		}
	}
}
