package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/btrfsops"
)

func TestAddMountUnit(t *testing.T) {
	for _, test := range []struct{ text, device, options string }{
		{"# made by a generator\n[Unit]\nOptions=not,here\n[Mount]\nWhat=/dev/disk/by-uuid/1\nOptions=rw\n  Options=subvol=50%%,noatime\n[Install]\nOptions=nor=here\n", "/dev/disk/by-uuid/1", "subvol=50%,noatime"},
		{"[Mount]\nWhat = /dev/x\n", "/dev/x", ""},
		{"[Mount]\nOptions=rw,\\\n# a comment\n; one more\\\n  subvol=a\nWhat=x", "x", "rw, subvol=a"},
		{"[Mount]\nOptions=subvol=a\\\\\nWhat=y\n", "y", `subvol=a\\`},
		{"[Mount]\nOptions=rw\nOptions=\nWhat=z\\", "z", ""},
		{"no section\nOptions=a\n[Mount]\nnothing\n[", "", ""},
	} {
		var got btrfsops.RootMount
		addMountUnit(&got, "file", test.text)
		from := ""
		if strings.Contains(test.text, "Options") && !strings.HasPrefix(test.text, "no") {
			from = "file"
		}
		if diff := cmp.Diff(btrfsops.RootMount{Device: test.device, Options: test.options, From: from}, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}

// files makes files below a new directory.
func files(t *testing.T, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func mountText(options string) string { return "[Mount]\nOptions=" + options + "\n" }

// The places and the order are those of systemd.unit(5).
func TestDropInsAreReadAsSystemdDoes(t *testing.T) {
	for name, test := range map[string]struct {
		files         map[string]string
		options, from string
	}{
		"the first unit":                  {map[string]string{"b/r.mount": mountText("b"), "c/r.mount": mountText("c")}, "b", "b/r.mount"},
		"a drop-in of a later directory":  {map[string]string{"a/r.mount": mountText("a"), "c/r.mount.d/x.conf": mountText("c")}, "c", "c/r.mount.d/x.conf"},
		"by name, not by directory":       {map[string]string{"c/r.mount": "", "b/r.mount": mountText("b"), "a/r.mount.d/1.conf": mountText("1"), "c/r.mount.d/2.conf": mountText("2")}, "2", "c/r.mount.d/2.conf"},
		"of one name, the first":          {map[string]string{"b/r.mount": mountText("b"), "a/r.mount.d/1.conf": mountText("a"), "c/r.mount.d/1.conf": mountText("c")}, "a", "a/r.mount.d/1.conf"},
		"an empty one hides the later":    {map[string]string{"b/r.mount": mountText("b"), "a/r.mount.d/1.conf": "", "c/r.mount.d/1.conf": mountText("c")}, "b", "b/r.mount"},
		"of all mounts, by name too":      {map[string]string{"b/r.mount": mountText("b"), "c/mount.d/2.conf": mountText("all"), "a/r.mount.d/1.conf": mountText("a")}, "all", "c/mount.d/2.conf"},
		"the unit's own hides the type's": {map[string]string{"b/r.mount": mountText("b"), "a/mount.d/1.conf": mountText("all"), "c/r.mount.d/1.conf": mountText("c")}, "c", "c/r.mount.d/1.conf"},
		"other files":                     {map[string]string{"b/r.mount": mountText("b"), "a/r.mount.d/1.txt": mountText("no"), "a/s.mount.d/1.conf": mountText("no")}, "b", "b/r.mount"},
		"of a masked unit":                {map[string]string{"b/r.mount": "", "a/r.mount.d/1.conf": mountText("a")}, "", ""},
		"nothing of Options=":             {map[string]string{"b/r.mount": mountText("b"), "a/r.mount.d/1.conf": "[Mount]\nWhat=/dev/a\n"}, "b", "b/r.mount"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := files(t, test.files)
			got, found := readMountUnit([]string{dir + "/a", dir + "/b", dir + "/c"}, "r.mount")
			if from, _ := filepath.Rel(dir, got.From); !found || got.Options != test.options || from != test.from && got.From != test.from {
				t.Errorf("found %t, %+v", found, got)
			}
		})
	}
	dir := files(t, map[string]string{"a/r.mount.d/1.conf": mountText("a")})
	if got, found := readMountUnit([]string{dir + "/a"}, "r.mount"); found {
		t.Errorf("a drop-in without a unit: %+v", got)
	}
}

// What is mounted where the unit is masked is not known, and nothing is refused for it.
func TestAMaskedUnitOfTheRootDecidesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/null", filepath.Join(dir, "sysroot.mount")); err != nil {
		t.Fatal(err)
	}
	if got, found := readMountUnit([]string{dir}, "sysroot.mount"); got != (btrfsops.RootMount{}) || !found {
		t.Errorf("%+v, %t", got, found)
	}
}
