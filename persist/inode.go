package persist

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// inodeFlags gives the flags that chattr(1) shows; none where the file system has no such thing.
func (k *kernel) inodeFlags(fd int) uint32 {
	var flags uint32
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_GETFLAGS, uintptr(unsafe.Pointer(&flags)))
	if errno != 0 {
		return 0
	}
	return flags
}

func (k *kernel) setInodeFlags(fd int, object string, flags uint32) error {
	return k.change("set inode flags of", object, func() error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_SETFLAGS, uintptr(unsafe.Pointer(&flags))); errno != 0 {
			return errno
		}
		return nil
	})
}

// inoLookupArgs is struct btrfs_ioctl_ino_lookup_args of include/uapi/linux/btrfs.h.
type inoLookupArgs struct {
	treeid, objectid uint64
	name             [4080]byte
}

const (
	inoLookup       = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	firstFreeObject = 256        // BTRFS_FIRST_FREE_OBJECTID
)

// subvolumeID gives the btrfs subvolume that a directory is in; 0 on another file system.
func (k *kernel) subvolumeID(dir int) uint64 {
	fd, err := k.open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0
	}
	defer k.close(fd)
	args := inoLookupArgs{objectid: firstFreeObject}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), inoLookup, uintptr(unsafe.Pointer(&args))); errno != 0 {
		return 0
	}
	return args.treeid
}
