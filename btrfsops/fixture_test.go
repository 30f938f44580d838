package btrfsops

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(killEnv); what != "" {
		os.Exit(workAndDie(what))
	}
	btrfstest.Main(m)
}

// now is the clock of the tests, ahead of the machine's own: a rollover is never earlier than the root's last change.
var now = time.Date(2101, 11, 23, 7, 54, 0, 0, time.UTC)

var layout = Layout{Root: "root", OldRoots: "old_roots"}

// fixture is a file system with a root, a persistent volume and a store, and its top level mounted at dir too, for looking.
type fixture struct {
	*Filesystem
	device, dir string
}

func newFixture(t *testing.T, mkfs ...string) *fixture {
	t.Helper()
	f := &fixture{device: btrfstest.NewDevice(t, 0, mkfs...), dir: filepath.Join(t.TempDir(), "top")}
	btrfstest.Mount(t, f.device, f.dir, "subvolid=5")
	for _, name := range []string{"root", "persist", "nix"} {
		btrfstest.Subvolume(t, f.path(name))
		f.write(t, name+"/of", name)
	}
	f.open(t)
	return f
}

// open opens the file system, as a process started anew would.
func (f *fixture) open(t *testing.T) {
	t.Helper()
	fs, err := OpenDevice(f.device)
	if err != nil {
		t.Fatal(err)
	}
	f.Filesystem = fs
	t.Cleanup(func() { _ = fs.Close() })
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// has fails the test unless the file holds the content.
func (f *fixture) has(t *testing.T, name, content string) {
	t.Helper()
	got, err := os.ReadFile(f.path(name))
	if err != nil || string(got) != content {
		t.Errorf("%s holds %q (%v), want %q", name, got, err, content)
	}
}

// lacks fails the test when there is something at name.
func (f *fixture) lacks(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Lstat(f.path(name)); !os.IsNotExist(err) {
		t.Errorf("%s is there (%v)", name, err)
	}
}

// boot rolls over as boot number n does.
func (f *fixture) boot(t *testing.T, n int, o RolloverOptions) RolloverReport {
	t.Helper()
	report, err := f.tryBoot(n, o)
	if err != nil {
		t.Fatalf("boot %d: %v", n, err)
	}
	return report
}

func (f *fixture) tryBoot(n int, o RolloverOptions) (RolloverReport, error) {
	if o.Layout == (Layout{}) {
		o.Layout = layout
	}
	if o.Now.IsZero() {
		o.Now = now.Add(time.Duration(n) * time.Hour)
	}
	o.BootID = bootID(n)
	return f.Rollover(context.Background(), o)
}

func bootID(n int) string { return "boot-" + string(rune('0'+n)) }

func (f *fixture) list(t *testing.T) []OldRoot {
	t.Helper()
	roots, err := f.ListRoots(layout)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

func (f *fixture) id(t *testing.T, name string) SubvolumeID {
	t.Helper()
	id, found, _ := f.lookup(name)
	if !found {
		t.Fatalf("no subvolume at %s", name)
	}
	return id
}
