package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// TestARecordThatCannotBeRead: it is an error, never taken for an empty one, which would be written in its place.
func TestARecordThatCannotBeRead(t *testing.T) {
	root := t.TempDir()
	c, err := load(t, root, "[persistence.\"/persist\"]\ndirectories = [\"/var/log\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, config.RecordPath("/persist"))
	if err := os.MkdirAll(filepath.Join(file, "in-the-way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := config.AddRecorded(root, c); err == nil || len(c.Entries()) != 1 {
		t.Errorf("added: %v, %+v", err, c.Entries())
	}
	if _, err := config.ReadRecorded(root, c.Volumes[0]); err == nil {
		t.Error("read all the same")
	}
	if err := config.ForgetRoots(root, c, map[string]bool{"/srv/a": true}); err == nil {
		t.Error("roots are forgotten all the same")
	}
	if err := config.WriteRecorded(root, c.Volumes[0], nil); err == nil {
		t.Error("written over a directory")
	}
}

// TestARecordThatCannotBeWritten is an error: nobody is to rely on what is not recorded.
func TestARecordThatCannotBeWritten(t *testing.T) {
	root := t.TempDir()
	volume := persist.Volume{Path: "/persist"}
	if err := os.MkdirAll(filepath.Join(root, "persist"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "persist/.impermanence"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.WriteRecorded(root, volume, []persist.Entry{{Target: "/srv/a", Source: "/persist/srv/a", Volume: "/persist"}}); err == nil {
		t.Error("written into a file")
	}
	// What would not be read again is not written.
	wrong := []persist.Entry{{Target: "/proc/a", Source: "/persist/proc/a", Volume: "/persist"}}
	if err := config.CheckRecorded(volume, wrong); err == nil {
		t.Error("an entry in /proc may be recorded")
	}
	if err := config.WriteRecorded(t.TempDir(), volume, wrong); err == nil {
		t.Error("an entry in /proc was recorded")
	}
}

// TestARecordThatDoesNotFit leaves the configuration as it is, to the last entry.
func TestARecordThatDoesNotFit(t *testing.T) {
	const recorded = "directories = [ \"/srv\", { directory = \"/opt/a\", addedIn = { subvolume = 257, uuid = \"8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d\" } } ]\n"
	c, err := record(t, t.TempDir(), "directories = [\"/srv/app\", \"/opt/a\"]\n", recorded)
	var problems config.Errors
	if !errors.As(err, &problems) {
		t.Errorf("got %v", err)
	}
	for _, e := range c.Entries() {
		if e.Adopt || e.AddedIn != (persist.RootName{}) {
			t.Errorf("changed: %+v", e)
		}
	}
	if diff := cmp.Diff([]string{"/srv/app", "/opt/a"}, targets(c.Entries())); diff != "" {
		t.Error(diff)
	}
}

// TestForgetRootsOfNone writes nothing.
func TestForgetRootsOfNone(t *testing.T) {
	root := t.TempDir()
	c, err := record(t, root, "", "# mine\ndirectories = [\"/srv/a\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := config.ForgetRoots(root, c, map[string]bool{"/srv/a": true}); err != nil {
		t.Error(err)
	}
	if text, err := fs.ReadFile(os.DirFS(root), "persist/.impermanence/entries.toml"); string(text) != "# mine\ndirectories = [\"/srv/a\"]\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestWhatCannotBeReadIsNoEmptyConfiguration: early boot would go on as if nothing was configured.
func TestWhatCannotBeReadIsNoEmptyConfiguration(t *testing.T) {
	for name, put := range map[string]func(dir string) error{
		"etc/impermanence/conf.d":            func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"usr/lib/impermanence/conf.d":        func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"etc/impermanence/impermanence.toml": func(p string) error { return os.Mkdir(p, 0o755) },
		"etc/impermanence/conf.d/fifo.toml":  func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"etc/impermanence/conf.d/large.toml": func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, 16<<20+1))
		},
	} {
		root := t.TempDir()
		if err := errors.Join(os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755), put(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
		if c, err := config.Load(config.LoadOptions{Root: root}); err == nil {
			t.Errorf("%s: got %+v", name, c)
		}
	}
}
