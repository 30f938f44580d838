package setup

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFileOutsideTheRoot: a symlink that leads out of the root is replaced, also when it leads to a place whose name begins as the root's.
func TestFileOutsideTheRoot(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "mnt2")
	root := filepath.Join(dir, "mnt")
	for _, place := range []string{outside, root} {
		must(t, os.Mkdir(place, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(outside, "fstab"), []byte("the host's\n"), 0o644))
	must(t, os.Symlink(filepath.Join(outside, "fstab"), filepath.Join(root, "fstab")))
	must(t, writeFile(root, "/fstab", "the machine's\n", 0o644))
	for file, want := range map[string]string{filepath.Join(outside, "fstab"): "the host's\n", filepath.Join(root, "fstab"): "the machine's\n"} {
		if text, err := os.ReadFile(file); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", file, text, err)
		}
	}
}
