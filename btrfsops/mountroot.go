package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	place, err := openUnmounted(sysroot, name)
	if place == nil {
		return false, err
	}
	defer func() { _ = place.Close() }()
	mount, err := mountDetached(device, attributes, options...)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(mount) }()
	err = attach(mount, place)
	return err == nil, err
}

// LeaveMounted puts the mount that OpenDevice made at a directory, which is made when it is missing. There it outlives Close and the process:
// the next mount of the file system has nothing to read, as this one is never undone. Where something is mounted already nothing is done.
func (fs *Filesystem) LeaveMounted(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("leave the top level mounted: %w", err)
	}
	place, err := openUnmounted(filepath.Split(dir))
	if place == nil {
		return err
	}
	defer func() { _ = place.Close() }()
	return attach(fs.mount, place)
}

// openUnmounted opens a directory below another, never through a symlink. It is nil where something is mounted.
func openUnmounted(dir, name string) (*os.File, error) {
	parent, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the place of a mount: %w", err)
	}
	defer func() { _ = parent.Close() }()
	place, err := openAs(parent, name, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.EXDEV) {
		return nil, nil
	}
	return place, err
}

// attach puts a detached mount at a directory.
func attach(mount int, place *os.File) error {
	err := unix.MoveMount(mount, "", int(place.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	return wrap("mount at", place.Name(), err)
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
