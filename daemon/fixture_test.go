package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) {
	victimMain()
	btrfstest.Main(m)
}

// now is the time of these tests: what is dated is dated from here, and for in-process daemons the clock stands still.
var now = time.Now().UTC().Truncate(time.Second)

const day = 24 * time.Hour

// anybody starts the jobs of tests that are about something else.
var anybody = dbus.Caller{Sender: ":1.1", UID: 0}

// machine is a booted system on a btrfs file system of its own.
type machine struct {
	device  string
	top     string // where the top level is mounted
	sysroot string // where the root is mounted
	runDir  string
	config  string // configuration file
	log     dbus.Log
}

// newMachine makes a file system with a root that is mounted, persist and nix beside it, and a configuration.
func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{
		device: btrfstest.NewDevice(t, 0), top: filepath.Join(dir, "top"), sysroot: filepath.Join(dir, "sysroot"),
		runDir: filepath.Join(dir, "run"), config: filepath.Join(dir, "impermanence.toml"), log: zap.NewNop().Sugar(),
	}
	if test, ok := t.(*testing.T); ok {
		m.log = zaptest.NewLogger(test).Sugar()
	}
	btrfstest.Mount(t, m.device, m.top, "subvolid=5")
	for _, name := range []string{"root", "persist", "nix"} {
		btrfstest.Subvolume(t, filepath.Join(m.top, name))
	}
	must(t, os.Mkdir(filepath.Join(m.top, "old_roots"), 0o755))
	must(t, os.Mkdir(m.runDir, 0o755))
	btrfstest.Mount(t, m.device, m.sysroot, "subvol=root")
	btrfstest.Mount(t, m.device, filepath.Join(m.sysroot, "persist"), "subvol=persist")
	m.configure(t, "")
	return m
}

// configure writes the configuration: the machine's own and what is added.
func (m *machine) configure(t testing.TB, added string) {
	t.Helper()
	text := fmt.Sprintf("[ephemeral.\"/\"]\ndevice = %q\n\n%s", m.device, added)
	must(t, os.WriteFile(m.config, []byte(text), 0o644))
}

// start returns a daemon for the machine that tells nobody.
func (m *machine) start(t testing.TB, change ...func(*daemon.Options)) *daemon.Daemon {
	t.Helper()
	options := daemon.Options{
		Version: "test", Config: config.LoadOptions{Path: m.config}, RunDir: m.runDir, Sysroot: m.sysroot,
		Log: m.log, Now: func() time.Time { return now },
	}
	for _, c := range change {
		c(&options)
	}
	d := daemon.New(options)
	t.Cleanup(d.Close)
	return d
}

// oldRoot makes an old root that was rolled over so long ago, with nested subvolumes at these paths, and returns its
// name.
func (m *machine) oldRoot(t testing.TB, age time.Duration, nested ...string) string {
	t.Helper()
	rolledOver := now.Add(-age)
	unnamed := filepath.Join(m.top, "old_roots", "new")
	btrfstest.Subvolume(t, unnamed)
	id := subvolumeID(t, unnamed)
	name := fmt.Sprintf("%s-%d", rolledOver.Format("20060102T150405Z"), id)
	path := filepath.Join(m.top, "old_roots", name)
	must(t, os.Rename(unnamed, path))
	setAttribute(t, path, "owner", strconv.FormatUint(id, 10))
	setAttribute(t, path, "kind", "old")
	setAttribute(t, path, "rolled_over", rolledOver.Format(time.RFC3339Nano))
	for _, n := range nested {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(path, n)), 0o755))
		btrfstest.Subvolume(t, filepath.Join(path, n))
		must(t, os.WriteFile(filepath.Join(path, n, "file"), []byte("data"), 0o644))
	}
	return name
}

func setAttribute(t testing.TB, path, name, value string) {
	t.Helper()
	must(t, unix.Setxattr(path, "trusted.impermanence."+name, []byte(value), 0))
}

func hasAttribute(path, name string) bool {
	_, err := unix.Getxattr(path, "trusted.impermanence."+name, nil)
	return err == nil
}

func subvolumeID(t testing.TB, path string) uint64 {
	t.Helper()
	var id uint64
	_, err := fmt.Sscan(strings.TrimSpace(btrfstest.Run(t, "btrfs", "inspect-internal", "rootid", path)), &id)
	must(t, err)
	return id
}

// rolledOver are the names of what is in old_roots.
func (m *machine) rolledOver(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(m.top, "old_roots"))
	must(t, err)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// roots lists by name.
func roots(t testing.TB, d *daemon.Daemon) map[string]dbus.Root {
	t.Helper()
	list, err := d.Roots(context.Background(), dbus.RootFilter{})
	must(t, err)
	byName := make(map[string]dbus.Root, len(list))
	for _, r := range list {
		byName[r.Name] = r
		wantDocumented(t, "Root", "Kind", r.Kind)
		wantDocumented(t, "Root", "ProtectReasons", r.ProtectReasons...)
	}
	return byName
}

// finish waits for a job that was to be accepted.
func finish(t testing.TB, d *daemon.Daemon, id uint64, err error) dbus.Job {
	t.Helper()
	must(t, err)
	job, err := d.WaitJob(context.Background(), id)
	must(t, err)
	wantDocumented(t, "Job", "Operation", job.Operation)
	wantDocumented(t, "Job", "Result", string(job.Result))
	wantDocumented(t, "Job", "Details", slices.Collect(maps.Keys(job.Details))...)
	return job
}
