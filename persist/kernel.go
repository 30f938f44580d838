package persist

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// kernel is the boundary: every system call that changes something, or that the package's safety rests on, goes through
// one of its methods, here, in xattr.go and in inode.go. Paths are names relative to a directory's file descriptor.
type kernel struct {
	// hook, when set, is asked before each call that changes something. Its error takes the place of the call: that is how
	// tests inject a fault, or a crash, at every step.
	hook func(call, object string) error
	ctx  context.Context // of what it is for, as of until; nil: none
}

// until gives a kernel for a copy that nobody sees yet, or for reading what may be large: with ctx it does no more of that.
func (k *kernel) until(ctx context.Context) *kernel { return &kernel{hook: k.hook, ctx: ctx} }

// canceled is why no more is to be copied or read, or nil.
func (k *kernel) canceled() error {
	if k.ctx == nil {
		return nil
	}
	return k.ctx.Err()
}

// callError is a failed system call: operation, object, cause.
type callError struct {
	call, object string
	errno        error
	mount        bool
}

func (e *callError) Error() string { return fmt.Sprintf("%s %s: %v", e.call, e.object, e.errno) }

func (e *callError) Unwrap() error { return e.errno }

// Is translates errno into the errors of this package.
func (e *callError) Is(target error) bool {
	switch target {
	case ErrMountFailed:
		return e.mount
	case ErrBusy:
		return errors.Is(e.errno, unix.EBUSY) || errors.Is(e.errno, unix.ETXTBSY)
	case ErrNotSupported:
		return errors.Is(e.errno, unix.ENOSYS) || errors.Is(e.errno, unix.EOPNOTSUPP)
	case ErrUnsafePath:
		return errors.Is(e.errno, unix.ELOOP)
	}
	return false
}

// change runs a call that changes something.
func (k *kernel) change(call, object string, f func() error) error {
	if err := k.canceled(); err != nil {
		return err
	}
	if k.hook != nil {
		if err := k.hook(call, object); err != nil {
			return &callError{call: call, object: object, errno: err}
		}
	}
	return wrap(call, object, retry(f))
}

func wrap(call, object string, err error) error {
	if err == nil {
		return nil
	}
	return &callError{call: call, object: object, errno: err}
}

// retry repeats a call that a signal interrupted.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// open opens below dir without following any symlink, wherever in the path it stands.
func (k *kernel) open(dir int, path string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(dir, path, &how)
		if err == nil {
			return fd, nil
		}
		// EAGAIN: a rename elsewhere made the kernel unsure whether ".." left the root; openat2(2) says to try again.
		if err != unix.EINTR && err != unix.EAGAIN {
			return -1, wrap("open", path, err)
		}
	}
}

// openNew makes a file that must not exist yet and opens it for reading and writing.
func (k *kernel) openNew(dir int, name string, mode uint32) (int, error) {
	fd := -1
	err := k.change("create", name, func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

func (k *kernel) close(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// stat looks at a name without following it; the empty name is dir itself.
func (k *kernel) stat(dir int, name string) (unix.Statx_t, error) {
	var st unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | unix.STATX_MNT_ID
	err := retry(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, mask, &st)
	})
	return st, wrap("stat", name, err)
}

// readLink reads a symlink; the empty name is dir itself, opened with O_PATH.
func (k *kernel) readLink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", wrap("read symlink", name, err)
	}
	return string(buf[:n]), nil
}

func (k *kernel) mkdir(dir int, name string, mode uint32) error {
	return k.change("mkdir", name, func() error { return unix.Mkdirat(dir, name, mode) })
}

func (k *kernel) mknod(dir int, name string, mode uint32, dev uint64) error {
	return k.change("mknod", name, func() error { return unix.Mknodat(dir, name, mode, int(dev)) })
}

func (k *kernel) symlink(text string, dir int, name string) error {
	return k.change("symlink", name, func() error { return unix.Symlinkat(text, dir, name) })
}

func (k *kernel) link(fromDir int, from string, dir int, name string) error {
	return k.change("link", name, func() error { return unix.Linkat(fromDir, from, dir, name, 0) })
}

// rename moves a name within or between directories; flags as of renameat2(2).
func (k *kernel) rename(fromDir int, from string, dir int, name string, flags uint) error {
	return k.change("rename", from+" to "+name, func() error { return unix.Renameat2(fromDir, from, dir, name, flags) })
}

func (k *kernel) unlink(dir int, name string) error {
	return k.change("unlink", name, func() error { return unix.Unlinkat(dir, name, 0) })
}

func (k *kernel) rmdir(dir int, name string) error {
	return k.change("rmdir", name, func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

// chown sets the owner of what fd refers to, symlinks included.
func (k *kernel) chown(fd int, object string, uid, gid uint32) error {
	return k.change("chown", object, func() error {
		return unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW)
	})
}

// chmod sets the mode of a directory or file that fd refers to. fd may be opened with O_PATH, which fchmod(2) refuses;
// the path through /proc names the same inode.
func (k *kernel) chmod(fd int, object string, mode uint32) error {
	return k.change("chmod", object, func() error {
		if err := unix.Fchmod(fd, mode); !errors.Is(err, unix.EBADF) {
			return err
		}
		return unix.Fchmodat(unix.AT_FDCWD, procPath(fd), mode, 0)
	})
}

func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// utimes sets the times of a name without following it; the empty name is dir itself.
func (k *kernel) utimes(dir int, name string, access, modify unix.StatxTimestamp) error {
	times := []unix.Timespec{{Sec: access.Sec, Nsec: int64(access.Nsec)}, {Sec: modify.Sec, Nsec: int64(modify.Nsec)}}
	return k.change("set times of", name, func() error {
		return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW|emptyPath(name))
	})
}

func emptyPath(name string) int {
	if name == "" {
		return unix.AT_EMPTY_PATH
	}
	return 0
}

// cloneTree makes a detached bind mount of one name, without what is mounted below it.
func (k *kernel) cloneTree(dir int, name string) (int, error) {
	fd := -1
	err := k.change("clone mount of", name, func() (err error) {
		fd, err = unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|uint(emptyPath(name)))
		return err
	})
	return fd, asMount(err)
}

// attach puts a detached mount on what place refers to.
func (k *kernel) attach(tree, place int, object string) error {
	return asMount(k.change("mount", object, func() error {
		return unix.MoveMount(tree, "", place, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}))
}

// setMountOptions sets and clears options of the mount that fd refers to.
func (k *kernel) setMountOptions(fd int, object string, set, clear uint64) error {
	attr := unix.MountAttr{Attr_set: set, Attr_clr: clear}
	return asMount(k.change("set mount options of", object, func() error { return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr) }))
}

// mountFlags gives the options of the mount that fd refers to, as MOUNT_ATTR_ bits: the kernel numbers the flags of
// statfs(2) the same up to NOEXEC.
func (k *kernel) mountFlags(fd int) (uint64, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, wrap("statfs", "mount", err)
	}
	flags := uint64(st.Flags) & (unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC)
	for from, to := range map[uint64]uint64{
		unix.ST_NOATIME: unix.MOUNT_ATTR_NOATIME, unix.ST_NODIRATIME: unix.MOUNT_ATTR_NODIRATIME, stNoSymfollow: unix.MOUNT_ATTR_NOSYMFOLLOW,
	} {
		if uint64(st.Flags)&from != 0 {
			flags |= to
		}
	}
	if uint64(st.Flags)&(unix.ST_NOATIME|unix.ST_RELATIME) == 0 {
		flags |= unix.MOUNT_ATTR_STRICTATIME
	}
	return flags, nil
}

// stNoSymfollow is ST_NOSYMFOLLOW of include/linux/statfs.h (Linux 5.10), which the unix package lacks.
const stNoSymfollow = 0x2000

// unmount takes away the mount at a name, which it does not follow. umount2(2) takes no descriptors, and one of the mount
// itself would keep it busy: the thread, whose own the working directory is (see onThread), goes to the parent.
func (k *kernel) unmount(dir int, name string) error {
	return asMount(k.change("unmount", name, func() error {
		if err := unix.Fchdir(dir); err != nil {
			return err
		}
		return unix.Unmount(name, unix.UMOUNT_NOFOLLOW)
	}))
}

func asMount(err error) error {
	var failed *callError
	if errors.As(err, &failed) {
		failed.mount = true
	}
	return err
}

// reflink makes to share all data of from. False: the file systems can't.
func (k *kernel) reflink(to, from int, object string) (bool, error) {
	err := k.change("reflink", object, func() error { return unix.IoctlFileClone(to, from) })
	for _, cannot := range []error{unix.EOPNOTSUPP, unix.EXDEV, unix.EINVAL, unix.ENOTTY, unix.ENOSYS, unix.EPERM} {
		if errors.Is(err, cannot) {
			return false, nil
		}
	}
	return err == nil, err
}

// copyRange copies bytes at the same offset and gives how many it copied.
func (k *kernel) copyRange(to, from int, object string, offset int64, length int) (int, error) {
	var n int
	err := k.change("copy", object, func() (err error) {
		in, out := offset, offset
		n, err = unix.CopyFileRange(from, &in, to, &out, length, 0)
		return err
	})
	return n, err
}

func (k *kernel) write(fd int, object string, data []byte, offset int64) error {
	return k.change("write", object, func() error {
		for len(data) > 0 {
			n, err := unix.Pwrite(fd, data, offset)
			if err != nil && err != unix.EINTR {
				return err
			}
			data, offset = data[max(n, 0):], offset+int64(max(n, 0))
		}
		return nil
	})
}

func (k *kernel) truncate(fd int, object string, size int64) error {
	return k.change("truncate", object, func() error { return unix.Ftruncate(fd, size) })
}

// sync makes a file or directory durable.
func (k *kernel) sync(fd int, object string) error {
	return k.change("sync", object, func() error { return unix.Fsync(fd) })
}

// syncAll makes the whole file system that fd is on durable.
func (k *kernel) syncAll(fd int, object string) error {
	return k.change("sync file system of", object, func() error { return unix.Syncfs(fd) })
}
