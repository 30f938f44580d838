package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/debian"
)

// distribution is a stock Debian with one kind of initrd.
type distribution struct{ suite, initrd string }

func (d distribution) String() string { return d.suite + "/" + d.initrd }

// remake is the command that makes the initrds again.
func (d distribution) remake() string {
	if d.initrd == "dracut" {
		return "dracut --force --regenerate-all"
	}
	return "update-initramfs -u -k all"
}

// contained tells whether its features can be shown in a container. In the full tests none is.
func (d distribution) contained() bool { return d.initrd == "dracut" && os.Getenv(fullEnv) == "" }

// spec is what is installed on it before us.
func (d distribution) spec() debian.Spec {
	packages := []string{
		"systemd", "systemd-sysv", "udev", "dbus", "polkitd", "btrfs-progs", "attr", "kmod", "linux-image-cloud-amd64",
		"cryptsetup-bin", "lvm2", "fdisk", "dosfstools", "openssh-client", "login", "init-system-helpers", d.initrd,
	}
	switch d {
	case bookwormTools, trixieTools:
		packages = append(packages, "cryptsetup-initramfs", "zstd") // what it recommends: an emulator takes seconds for gzip
	case trixieDracut:
		packages = append(packages, "systemd-cryptsetup") // on Debian 12 a part of systemd
	}
	return debian.Spec{Suite: d.suite, Packages: packages}
}

// rootSubvolume is where Debian's installer puts the root on btrfs.
const rootSubvolume = "@rootfs"

// diskSize is the size of a machine's disk in bytes. The image is sparse.
const diskSize = 4 << 30

// disk is a machine's disk, and what a boot loader would take from it.
type disk struct {
	image, kernel, initrd string
	uuid                  string
	root                  string // what the kernel command line says of the root
	config                string // the configuration that was written
}

// install makes a machine as a person would: Debian, our package, `impermanence setup`.
func install(t testing.TB, d distribution) disk {
	t.Helper()
	dir := t.TempDir()
	made := disk{image: filepath.Join(dir, "disk"), kernel: filepath.Join(dir, "kernel"), initrd: filepath.Join(dir, "initrd")}
	makeImage(t, made.image)
	made.uuid = strings.TrimSpace(btrfstest.Run(t, "blkid", "--probe", "--match-tag=UUID", "--output=value", made.image))
	made.root = "root=UUID=" + made.uuid + " rootflags=subvol=" + rootSubvolume
	made.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		made.unpack(t, d, root)
		chroot(t, root, "impermanence", "setup", "--preset=accounts,ssh-host-keys")
		made.config = read(t, root+"/etc/impermanence/impermanence.toml")
		copyFile(t, only(t, root+"/boot/vmlinuz-*"), made.kernel)
		copyFile(t, only(t, root+"/boot/initrd.img-*"), made.initrd)
	})
	return made
}

// unpack makes a subvolume with a stock Debian that has our package.
func (d disk) unpack(t testing.TB, on distribution, root string) {
	t.Helper()
	btrfstest.Subvolume(t, root)
	debian.Unpack(t, on.spec(), root)
	d.stock(t, on, root)
	chroot(t, root, "apt-get", "install", "--yes", "--no-install-recommends", "/var/cache/impermanence.deb")
}

// stock is what an installer would have configured, and what makes a machine test itself.
func (d disk) stock(t testing.TB, on distribution, root string) {
	t.Helper()
	copyFile(t, only(t, "../../"+packages+"/*.deb"), filepath.Join(root, "var/cache/impermanence.deb"))
	probe := filepath.Join(t.TempDir(), "probe")
	write(t, probe+"/DEBIAN/control", "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: to be installed\n")
	write(t, probe+"/usr/share/probe/installed", "")
	btrfstest.Run(t, "dpkg-deb", "--build", "--root-owner-group", probe, root+"/var/cache/probe.deb")
	write(t, root+"/etc/fstab", fmt.Sprintf("UUID=%s / btrfs subvol=%s 0 0\n", d.uuid, rootSubvolume))
	write(t, root+"/etc/hostname", "stock\n")
	id := "" // as in an image
	if on.suite == "bookworm" {
		id = machineID // from an installer
	}
	write(t, root+"/etc/machine-id", id)
	write(t, root+"/etc/passwd", read(t, root+"/etc/passwd")+"reader:x:1234:1234::/:/bin/true\n")
	write(t, root+"/etc/shadow", read(t, root+"/etc/shadow")+"reader:*:20000::::::\n")
	write(t, root+"/etc/impermanence/conf.d/test.toml", "[persistence.\"/persist\"]\ndirectories = [\"/srv/data\"]\n")
	// The image is made on another machine than it is for.
	write(t, root+"/etc/dracut.conf.d/test.conf", "hostonly=no\nhostonly_cmdline=no\ncompress=cat\n")
	write(t, root+"/etc/initramfs-tools/conf.d/test", "COMPRESSLEVEL=1\n") // a machine makes one
	write(t, root+"/etc/systemd/system/check.service", read(t, "guest/check.service"))
	chroot(t, root, "systemctl", "enable", "check.service")
	// What a machine without a network and a screen waits for.
	chroot(t, root, "systemctl", "mask", "systemd-firstboot.service", "systemd-networkd-wait-online.service", "apt-daily.timer",
		"apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "lvm2-monitor.service", "getty@tty1.service",
		// And what takes an emulated one seconds.
		"e2scrub_reap.service", "blk-availability.service", "systemd-networkd.service", "systemd-networkd.socket",
		"systemd-network-generator.service", "systemd-networkd-persistent-storage.service", "systemd-pstore.service", "modprobe@.service",
		"sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
		"dev-hugepages.mount", "dev-mqueue.mount")
}

// change mounts the disk's top level for a function.
func (d disk) change(t testing.TB, f func(top string)) {
	t.Helper()
	top := filepath.Join(t.TempDir(), "top")
	btrfstest.Run(t, "mkdir", "--parents", top)
	btrfstest.Run(t, "mount", "-o", "loop,subvolid=5,noatime", d.image, top)
	defer btrfstest.Run(t, "umount", top)
	f(top)
}

// useInitrd takes the initrd that a root has now.
func (d *disk) useInitrd(t testing.TB, root string) {
	t.Helper()
	d.initrd = filepath.Join(t.TempDir(), "initrd")
	copyFile(t, only(t, root+"/boot/initrd.img-*"), d.initrd)
}

// copy is a disk of its own with the same contents.
func (d disk) copy(t testing.TB) disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	btrfstest.Run(t, "cp", "--sparse=always", d.image, image)
	d.image = image
	return d
}

// chroot runs a command in a root, the subvolume by whose name it is at the top level, as in a running machine.
func chroot(t testing.TB, root string, command ...string) {
	t.Helper()
	const script = `set -e
mount -o "subvol=/$(basename "$1")" "$(findmnt --noheadings --nofsroot --output=SOURCE --target "$1")" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/var/tmp"
root=$1
shift
exec chroot "$root" env -i HOME=/root DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"`
	btrfstest.Run(t, "unshare", append([]string{"--mount", "--propagation=private", "sh", "-c", script, "sh", root}, command...)...)
}

func makeImage(t testing.TB, path string) {
	t.Helper()
	write(t, path, "")
	if err := os.Truncate(path, diskSize); err != nil {
		t.Fatal(err)
	}
	btrfstest.Run(t, "mkfs.btrfs", "--quiet", path)
}

// only is the one file that a pattern matches.
func only(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s matches %q, %v", pattern, found, err)
	}
	return found[0]
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write writes a file, and makes its directory when that is missing.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	write(t, to, read(t, from))
}
