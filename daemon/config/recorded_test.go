package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestARecordThatDoesNotFit: what can't be beside what is configured is left out and named, and nothing else.
func TestARecordThatDoesNotFit(t *testing.T) {
	const recorded = `directories = [ "/srv", { directory = "/opt/a", addedIn = { subvolume = 257, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d" } }, "/opt/b", "/persist/c" ]
files = [ "/etc/app", "/etc/other" ]
`
	c, err := record(t, t.TempDir(), "directories = [\"/srv/app\", \"/opt/a\", \"/etc/app/inside\"]\n", recorded)
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Errorf("got %v", err)
	}
	for _, e := range c.Entries() {
		wanted := e.Target == "/opt/b" || e.Target == "/etc/other" || e.Target == "/opt/a"
		if e.Adopt != wanted || (e.AddedIn != persist.RootName{}) != (e.Target == "/opt/a") {
			t.Errorf("got %+v", e)
		}
	}
	if diff := cmp.Diff([]string{"/srv/app", "/opt/a", "/etc/app/inside", "/etc/other", "/opt/b"}, targets(c.Entries())); diff != "" {
		t.Error(diff)
	}
}

// TestAWrongRecordCostsNoOther: the record of another volume, and what is configured, count all the same.
func TestAWrongRecordCostsNoOther(t *testing.T) {
	for name, wrong := range map[string]string{"no TOML": "directories = [", "a wrong entry": "directories = [\"/srv/a\", \"b\"]"} {
		root := t.TempDir()
		c, err := load(t, root, "[persistence.\"/persist\"]\ndirectories = [\"/var/log\"]\n[persistence.\"/bulk\"]\n")
		if err != nil {
			t.Fatal(err)
		}
		for volume, text := range map[string]string{"/persist": wrong, "/bulk": "directories = [\"/srv/b\"]\n"} {
			file := filepath.Join(root, config.RecordPath(volume))
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		var problems config.Errors
		if err := config.AddRecorded(root, c); !errors.As(err, &problems) || len(problems) != 1 {
			t.Errorf("%s: got %v", name, err)
		}
		slices.SortFunc(c.Volumes, func(a, b persist.Volume) int { return strings.Compare(a.Path, b.Path) })
		if diff := cmp.Diff([]string{"/srv/b", "/var/log"}, targets(c.Entries())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
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
