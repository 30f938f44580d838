package btrfsops

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// MountReadOnly mounts a subvolume of the file system on device at the directory target, for this mount namespace, so
// that it can be looked at: read-only, and without devices, programs or set-user-id bits that take effect. Errors:
// ErrNotBtrfs, ErrBusy, fs.ErrNotExist.
func MountReadOnly(device string, id SubvolumeID, target string) error {
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mount, err := mountDetached(device, attributes, bySubvolumeID(id))
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(mount) }()
	return wrap("mount at", target, unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// MountInRoot mounts what options of btrfs pick (subvol=, subvolid=) of the file system on device, with attributes of
// mount_setattr(2), at a directory of a root that is mounted at sysroot: never through a symlink. name is relative to it. Where
// something is mounted already nothing is done, and made is false. Errors: ErrNotBtrfs, fs.ErrNotExist.
func MountInRoot(device string, options []string, attributes int, sysroot, name string) (made bool, err error) {
	root, err := os.Open(sysroot)
	if err != nil {
		return false, fmt.Errorf("open root: %w", err)
	}
	defer func() { _ = root.Close() }()
	place, err := openAs(root, name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.EXDEV) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = place.Close() }()
	mount, err := mountDetached(device, attributes, options...)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(mount) }()
	err = unix.MoveMount(mount, "", int(place.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return err == nil, wrap("mount at", name, err)
}

// Unmount takes away what MountReadOnly mounted. Nothing there is not an error. Errors: ErrBusy.
func Unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %q is open somewhere", ErrBusy, target)
	}
	return wrap("unmount", target, err)
}
