package boot

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// testEmptyDisk lays out two empty disks in a running machine, one of them encrypted, installs a Debian into that as it is told to, and boots
// it: the passphrase is typed, a wrong one first.
func testEmptyDisk(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		stock := filepath.Join(top, "stock")
		d.unpack(t, on, stock)
		for _, dir := range []string{"doc", "locale", "man"} { // an emulated machine copies them for half a minute
			if err := os.RemoveAll(filepath.Join(stock, "usr/share", dir)); err != nil {
				t.Fatal(err)
			}
		}
	})
	dir := t.TempDir()
	m := machine{disk: d, name: name + "/laid out", script: "layout", drive: qemuDrive(d.image)}
	for disk, size := range map[string]int64{"encrypted": diskSize, "plain": 2 << 30, "loader": 256 << 20} {
		image := filepath.Join(dir, disk)
		write(t, image, "")
		if err := os.Truncate(image, size); err != nil {
			t.Fatal(err)
		}
		m.drive = slices.Concat(m.drive, anotherDisk(disk, image))
	}
	lines, _ := results(t, m)
	uuid := ""
	for _, line := range lines {
		if of, found := strings.CutPrefix(line, "encrypted "); found {
			uuid = of
		}
	}
	if uuid == "" {
		t.Fatalf("%s: no disk was encrypted: %q", name, lines)
	}
	btrfstest.Run(t, "bsdtar", "-x", "-f", filepath.Join(dir, "loader"), "-C", dir) // what a boot loader would load
	asks := asksForPassphrase
	if on.initrd == "initramfs-tools" {
		asks = "Please unlock disk impermanence"
	}
	expect(t, machine{
		disk: disk{
			image: filepath.Join(dir, "encrypted"), kernel: filepath.Join(dir, "kernel"), initrd: filepath.Join(dir, "initrd"),
			root: "root=/dev/mapper/impermanence rd.luks.name=" + uuid + "=impermanence rootflags=subvol=root",
		},
		name: name, script: "fresh", asks: asks, answers: []string{"wrong", "correct horse"},
	})
}
