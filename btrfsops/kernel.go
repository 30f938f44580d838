package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/dennwc/btrfs"
	"golang.org/x/sys/unix"
)

// kernel is the system-call edge: each method is one call that changes the file system, or one that a test wants to see
// fail. Nothing else in the package makes such a call.
type kernel struct {
	// step, when a test sets it, is asked before each call (done false) and after it (done true); an error it returns
	// takes the place of the call's own. It is nil in production.
	step func(call string, done bool) error
}

// do makes one call, again when a signal interrupted it.
func (k *kernel) do(call string, f func() error) error {
	if k.step != nil {
		if err := k.step(call, false); err != nil {
			return err
		}
	}
	err := f()
	for errors.Is(err, unix.EINTR) {
		err = f()
	}
	if k.step != nil && err == nil {
		err = k.step(call, true)
	}
	return err
}

// ioctl makes one ioctl; arg points to its argument, which has the size that the request number says.
func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// setName copies a name into the fixed array of an argument and checks that it fits.
func setName(dst []byte, name string) error {
	if name == "" || len(name) > nameMaximum {
		return fmt.Errorf("%w: %q has %d bytes, not 1 to %d", ErrInvalidName, name, len(name), nameMaximum)
	}
	copy(dst, name)
	return nil
}

func (k *kernel) createSubvolume(dir *os.File, name string) error {
	var args volArgsV2
	if err := setName(args.Name[:nameMaximum+1], name); err != nil {
		return err
	}
	return wrap("create subvolume", name, k.do("create subvolume", func() error {
		return ioctl(int(dir.Fd()), iocSubvolCreate, unsafe.Pointer(&args))
	}))
}

// createSnapshot makes dir/name a snapshot of the subvolume that source is open on. The kernel commits by itself.
func (k *kernel) createSnapshot(dir *os.File, name string, source *os.File) error {
	return k.createSnapshotWith(dir, name, source, 0)
}

// createSnapshotWith is createSnapshot with flags: subvolReadOnly or none.
func (k *kernel) createSnapshotWith(dir *os.File, name string, source *os.File, flags uint64) error {
	args := volArgsV2{Fd: int64(source.Fd()), Flags: flags}
	if err := setName(args.Name[:nameMaximum+1], name); err != nil {
		return err
	}
	err := k.do("create snapshot", func() error { return ioctl(int(dir.Fd()), iocSnapCreateV2, unsafe.Pointer(&args)) })
	if errors.Is(err, unix.ETXTBSY) {
		err = fmt.Errorf("a swap file in it is in use: swapoff(8) (%w)", err)
	}
	return wrap("create snapshot", name, err)
}

// destroySubvolume deletes one subvolume that has no others in it, by id. top is a descriptor of the top level.
func (k *kernel) destroySubvolume(top *os.File, id SubvolumeID) error {
	args := volArgsV2{Flags: subvolSpecByID}
	*(*uint64)(unsafe.Pointer(&args.Name)) = uint64(id)
	return wrap("delete subvolume", fmt.Sprint(id), k.do("delete subvolume", func() error {
		return ioctl(int(top.Fd()), iocSnapDestroyV2, unsafe.Pointer(&args))
	}))
}

// setDefault makes a subvolume the one that a mount without subvol= gives. top is a descriptor of the top level.
func (k *kernel) setDefault(top *os.File, id SubvolumeID) error {
	arg := uint64(id)
	return wrap("set the default subvolume to", fmt.Sprint(id), k.do("set default", func() error {
		return ioctl(int(top.Fd()), iocDefaultSubvol, unsafe.Pointer(&arg))
	}))
}

// setReadOnly sets or clears the read-only flag of the subvolume that dir is open on. The kernel commits by itself.
func (k *kernel) setReadOnly(dir *os.File, readOnly bool) error {
	fs, err := btrfs.Open(procPath(dir), true)
	if err != nil {
		return wrap("open subvolume", dir.Name(), err)
	}
	defer func() { _ = fs.Close() }()
	flags, err := fs.GetFlags()
	if err != nil {
		return wrap("read flags", dir.Name(), err)
	}
	if flags.ReadOnly() == readOnly {
		return nil
	}
	return wrap("set flags", dir.Name(), k.do("set flags", func() error {
		return fs.SetFlags(flags ^ btrfs.SubvolReadOnly)
	}))
}

// rename renames within one mount; flags are RENAME_NOREPLACE or RENAME_EXCHANGE. There is no plain rename here: it would
// silently replace an empty directory.
func (k *kernel) rename(fromDir *os.File, from string, toDir *os.File, to string, flags uint) error {
	return wrap("rename "+from+" to", to, k.do("rename", func() error {
		return unix.Renameat2(int(fromDir.Fd()), from, int(toDir.Fd()), to, flags)
	}))
}

func (k *kernel) makeDirectory(dir *os.File, name string, mode uint32) error {
	return wrap("make directory", name, k.do("make directory", func() error {
		return unix.Mkdirat(int(dir.Fd()), name, mode)
	}))
}

// removeDirectory removes an empty directory.
func (k *kernel) removeDirectory(dir *os.File, name string) error {
	return wrap("remove directory", name, k.do("remove directory", func() error {
		return unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	}))
}

func (k *kernel) changeOwner(f *os.File, uid, gid uint32) error {
	return wrap("change owner of", f.Name(), k.do("change owner", func() error {
		return unix.Fchown(int(f.Fd()), int(uid), int(gid))
	}))
}

func (k *kernel) changeMode(f *os.File, mode uint32) error {
	return wrap("change mode of", f.Name(), k.do("change mode", func() error {
		return unix.Fchmod(int(f.Fd()), mode)
	}))
}

func (k *kernel) setAttribute(f *os.File, name, value string) error {
	return wrap("set "+name+" of", f.Name(), k.do("set attribute", func() error {
		return unix.Fsetxattr(int(f.Fd()), attributePrefix+name, []byte(value), 0)
	}))
}

// removeAttribute removes an attribute; one that is not there is not an error.
func (k *kernel) removeAttribute(f *os.File, name string) error {
	err := k.do("remove attribute", func() error {
		return unix.Fremovexattr(int(f.Fd()), attributePrefix+name)
	})
	if errors.Is(err, unix.ENODATA) {
		return nil
	}
	return wrap("remove "+name+" of", f.Name(), err)
}

// commit makes what was done in a directory, or to it, durable, and everything before it: the rename and the deletion of a
// subvolume let the fsync of its directory commit the whole transaction. Other files' data is not waited for.
//
// BTRFS_IOC_START_SYNC does not do: it leaves the commit to the kernel's transaction thread, whose wake-up can be lost, and
// then takes until the next periodic commit, up to 30 s (seen with Linux 6.18, transaction_kthread in fs/btrfs/disk-io.c).
func (k *kernel) commit(dir *os.File) error {
	return wrap("commit", dir.Name(), k.do("commit", func() error { return unix.Fsync(int(dir.Fd())) }))
}

// sync flushes all files, commits, and wakes the cleaner.
func (k *kernel) sync(top *os.File) error {
	return wrap("sync", top.Name(), k.do("sync", func() error { return ioctl(int(top.Fd()), iocSync, nil) }))
}

// procPath names an open file for libraries that take only paths: it can't be redirected by a rename or a symlink.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
