package persist

import (
	"fmt"
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

// subvolumeOf tells btrfs subvolumes apart, on whatever file system, now and at later boots: btrfs_statfs puts the id of the
// subvolume into the id of the file system (fs/btrfs/super.c). Empty on another file system.
func (k *kernel) subvolumeOf(dir int) string {
	var st unix.Statfs_t
	if err := unix.Fstatfs(dir, &st); err != nil || st.Type != unix.BTRFS_SUPER_MAGIC {
		return ""
	}
	return fmt.Sprintf("%08x%08x", uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
}
