package btrfsops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// deviceLinks says where udev puts its links for each kind of device specification.
var deviceLinks = []struct{ prefix, dir string }{
	{"UUID=", "by-uuid"}, {"LABEL=", "by-label"}, {"PARTUUID=", "by-partuuid"}, {"PARTLABEL=", "by-partlabel"}, {"ID=", "by-id"},
}

// ResolveDevice turns a device specification, as fstab and the kernel's root= have it, into a path. It doesn't wait for
// the device. Errors: ErrInvalidName.
func ResolveDevice(spec string) (string, error) {
	for _, link := range deviceLinks {
		if value, found := strings.CutPrefix(spec, link.prefix); found && value != "" {
			return filepath.Join("/dev/disk", link.dir, udevEncode(strings.Trim(value, `"`))), nil
		}
	}
	if filepath.IsAbs(spec) {
		return filepath.Clean(spec), nil
	}
	return "", fmt.Errorf("%w: device %q: give a path such as /dev/sda2, or UUID=, LABEL=, PARTUUID=, PARTLABEL= or ID=", ErrInvalidName, spec)
}

// HasDevice tells whether a device is known to be a part of the file system.
func (fs *Filesystem) HasDevice(device string) bool {
	uuid, err := filesystemOn(device)
	return err == nil && uuid == fs.uuid
}

// diskMissing tells whether the kernel does not know all devices of the btrfs that a device is a part of. Where it does not say, none is missing.
func diskMissing(device string) bool {
	control, err := os.Open("/dev/btrfs-control")
	if err != nil {
		return false
	}
	defer func() { _ = control.Close() }()
	var args volArgs
	if len(device) >= len(args.Name) {
		return false
	}
	copy(args.Name[:], device)
	missing, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), iocDevicesReady, uintptr(unsafe.Pointer(&args)))
	return errno == 0 && missing != 0
}

// filesystemOn returns the UUID of the btrfs that a device is a part of. Errors: ErrNotBtrfs.
func filesystemOn(device string) (string, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	const uuid, magic = 32, 64 // where what is in struct btrfs_super_block
	// It is at BTRFS_SUPER_INFO_OFFSET. A zoned device is written from the beginning of a zone on: sb_log_location() in fs/btrfs/zoned.c.
	for _, at := range []int64{64 << 10, 0} {
		super := make([]byte, magic+8)
		if _, err := f.ReadAt(super, at); err != nil {
			return "", fmt.Errorf("read the superblock: %w", err)
		}
		if string(super[magic:]) == "_BHRfS_M" {
			return formatUUID([16]byte(super[uuid:])), nil
		}
	}
	return "", fmt.Errorf("%w: %s", ErrNotBtrfs, device)
}

// udevEncode writes a value as udev does in names of links: what is not plain becomes \x and two hexadecimal digits.
func udevEncode(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		plain := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
		if plain || strings.IndexByte("#+-.:=@_", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}
