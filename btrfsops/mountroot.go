package btrfsops

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// MountReadOnly mounts a subvolume of the file system on device at the directory target, for this mount namespace, so
// that it can be looked at: read-only, and without devices, programs or set-user-id bits that take effect. Errors:
// ErrNotBtrfs, ErrBusy, fs.ErrNotExist.
func MountReadOnly(device string, id SubvolumeID, target string) error {
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	mount, err := mountDetached(device, id, attributes)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(mount) }()
	return wrap("mount at", target, unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH))
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
