package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

var aRoot = persist.RootName{Subvolume: 257, UUID: "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d"}

// record writes the record of /persist, and loads the configuration with it.
func record(t *testing.T, root, configured, recorded string) (*config.Config, error) {
	t.Helper()
	c, err := load(t, root, "[persistence.\"/persist\"]\n"+configured)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, config.RecordPath("/persist"))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(recorded), 0o600); err != nil {
		t.Fatal(err)
	}
	return c, config.AddRecorded(root, c)
}

func TestARootThatIsNoneIsNotRead(t *testing.T) {
	const right = `subvolume = 257, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d"`
	for addedIn, want := range map[string]string{
		`3`:                   "is an integer, not a table",
		`"257"`:               "is a string, not a table",
		`{}`:                  "names no root",
		`{ uuid = "" }`:       `"" is not a UUID`,
		`{ subvolume = 257 }`: "names no root",
		`{ subvolume = 0, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d" }`:                    "names no root",
		`{ subvolume = -1, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d" }`:                   "-1 is not the id of a subvolume",
		`{ subvolume = 99999999999999999999, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d" }`: "is not the id of a subvolume",
		`{ subvolume = 257, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7" }`:                   "is not a UUID",
		`{ subvolume = 257, uuid = "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1bxx" }`:                  "is not a UUID",
		`{ subvolume = 257, uuid = "00000000-0000-0000-0000-000000000000" }`:                  "is not a UUID",
		`{ ` + right + `, name = "x" }`:                                                       "there is no such key",
	} {
		c, err := record(t, t.TempDir(), "directories = [\"/var/log\"]", "\ndirectories = [ { directory = \"/srv/a\", addedIn = "+addedIn+" } ]\n")
		var problems config.Errors
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "entries.toml:2") || len(c.Entries()) != 1 {
			t.Errorf("%s: got %v, %+v, want %s", addedIn, err, c.Entries(), want)
		}
	}
	// Only a record has it, and only what is added by its path.
	if _, err := load(t, t.TempDir(), "[persistence.\"/persist\"]\ndirectories = [ { directory = \"/srv/a\", addedIn = { "+right+" } } ]\n"); err == nil {
		t.Error("it is taken for configuration")
	}
	if _, err := record(t, t.TempDir(), "", "users.demo.directories = [ { directory = \"a\", addedIn = { "+right+" } } ]\n"); err == nil {
		t.Error("it is read for something in a home")
	}
}

// TestConfiguredAfterItWasRecorded: what is configured stays so, and is still taken from the root that it was added in.
func TestConfiguredAfterItWasRecorded(t *testing.T) {
	root := t.TempDir()
	c, err := record(t, root, "directories = [ { directory = \"/srv/a\", mode = \"0700\" }, \"/srv/b\" ]",
		`directories = [ { directory = "/srv/a", addedIn = { subvolume = 257, uuid = "8C1E4C9E-2c4b-4d0a-9a34-3c8f6c2a1b7d" } }, "/srv/b" ]`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Entries()[0], c.Entries()[1]
	if a.AddedIn != aRoot || !a.Adopt || a.Mode.Bits != 0o700 || b.Adopt || len(c.Entries()) != 2 {
		t.Errorf("got %+v", c.Entries())
	}
	if err := config.ForgetRoots(root, c, map[string]bool{"/srv/a": true}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, config.RecordPath("/persist")))
	if err != nil || strings.Contains(string(data), "addedIn") || !strings.Contains(string(data), "/srv/a") || !strings.Contains(string(data), "/srv/b") {
		t.Errorf("the record is %s (%v)", data, err)
	}
}

func TestRootsAreForgottenOfWhatWasTaken(t *testing.T) {
	root := t.TempDir()
	volume := persist.Volume{Path: "/persist"}
	entries := []persist.Entry{
		{Target: "/srv/a", Source: "/persist/srv/a", Volume: "/persist", AddedIn: aRoot},
		{Target: "/srv/b", Source: "/persist/srv/b", Volume: "/persist", AddedIn: aRoot},
	}
	if err := config.WriteRecorded(root, volume, entries); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Volumes: []persist.Volume{{Path: "/none"}, volume}}
	if err := config.ForgetRoots(root, c, map[string]bool{"/srv/b": true}); err != nil {
		t.Fatal(err)
	}
	if err := config.AddRecorded(root, c); err != nil || len(c.Entries()) != 2 {
		t.Fatalf("got %+v, %v", c.Entries(), err)
	}
	if got := c.Entries(); got[0].AddedIn != aRoot || got[1].AddedIn != (persist.RootName{}) || !got[1].Adopt {
		t.Errorf("got %+v", got)
	}
	if err := os.WriteFile(filepath.Join(root, config.RecordPath("/persist")), []byte("directories = 3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.ForgetRoots(root, c, map[string]bool{"/srv/a": true}); err == nil {
		t.Error("a broken record was written anew")
	}
}

func TestTheMountPointThatAPathIsOn(t *testing.T) {
	c := &config.Config{Ephemeral: []config.Ephemeral{{MountPoint: "/"}, {MountPoint: "/home"}, {MountPoint: "/home/demo"}}}
	for p, want := range map[string]string{"/home": "/", "/homework": "/", "/home/other/x": "/home", "/home/demo": "/home", "/home/demo/x": "/home/demo"} {
		if on, found := c.EphemeralOf(p); !found || on.MountPoint != want {
			t.Errorf("%s is on %q", p, on.MountPoint)
		}
	}
	if on, found := (&config.Config{}).EphemeralOf("/srv"); found {
		t.Errorf("got %+v", on)
	}
}
