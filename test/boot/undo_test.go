package boot

import (
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// testUndone undoes the set-up in a running machine, whose /boot is another disk that is mounted when somebody looks, and boots it again:
// first with the initrd from before, as after an undoing that was interrupted there, then with the one that is made last.
func testUndone(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	boot := filepath.Join(t.TempDir(), "boot")
	d.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		addBoot := func(dir string) {
			fstab := filepath.Join(dir, "etc/fstab")
			write(t, fstab, read(t, fstab)+"LABEL=boot /boot ext4 noauto,x-systemd.automount 0 0\n")
		}
		addBoot(root)
		changeTemplate(t, top, addBoot)
		btrfstest.Run(t, "mkfs.ext4", "-q", "-L", "boot", "-d", filepath.Join(root, "boot"), boot, "512M")
	})
	m := machine{disk: d, name: name + "/undone", script: "undo"}
	m.drive = append(qemuDrive(d.image), anotherDisk("boot", boot)...)
	expect(t, m)
	m.name, m.script = name+"/former initrd", "undone"
	expect(t, m)
	d.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		chroot(t, root, "sh", "-e", "-c", on.remake())
		m.disk.useInitrd(t, root)
	})
	m.name, m.says, m.contained = name+"/new initrd", "running", on.contained()
	expect(t, m)
}
