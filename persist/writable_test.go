package persist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMakeWritable(t *testing.T) {
	for name, test := range map[string]struct{ file, mount string }{
		"all of it is read-only": {"ro", "ro"}, "the file system is": {"ro", "rw"}, "the mount is": {"rw", "ro"}, "neither is": {"rw", "rw"},
	} {
		t.Run(name, func(t *testing.T) {
			device, dir := btrfstest.NewDevice(t, 0), filepath.Join(t.TempDir(), "root")
			btrfstest.Mount(t, device, dir, "compress=zstd:2")
			btrfstest.Subvolume(t, filepath.Join(dir, "root"))
			btrfstest.Unmount(t, dir)
			btrfstest.Mount(t, device, dir, "subvol=root,compress=zstd:2")
			btrfstest.Run(t, "mount", "-o", "remount,"+test.file, dir)
			btrfstest.Run(t, "mount", "-o", "remount,bind,nodev,noatime,"+test.mount, dir)
			if err := MakeWritable(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
				t.Error(err)
			}
			options := btrfstest.Run(t, "findmnt", "--noheadings", "--output=VFS-OPTIONS,FS-OPTIONS", dir)
			for _, want := range []string{"nodev", "noatime", "compress=zstd:2", "subvol=/root"} {
				if !strings.Contains(options, want) {
					t.Errorf("the mount options are %s, without %s", options, want)
				}
			}
		})
	}
	if err := MakeWritable(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("what is not there was made writable")
	}
}
