package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/btrfsops"
)

// limit is the least that any program must do for a row: a loop over the system calls, in a process of its own.
func limit(work string, args []string) error {
	switch work {
	case "rollover": // DEVICE DIRECTORY
		return rollover(args[0], args[1])
	case "mount": // DEVICE DIRECTORY
		if err := unix.Mount(args[0], args[1], "btrfs", unix.MS_NOATIME, "subvolid=5"); err != nil {
			return err
		}
		return unix.Unmount(args[1], 0)
	case "destroy": // DIRECTORY NAME…
		return destroy(args[0], args[1:])
	case "bind": // SOURCES TARGETS COUNT
		count, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return bind(args[0], args[1], count)
	case "search": // DIRECTORY TRANSACTION
		since, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		return searchTree(args[0], since)
	case "compare": // TOP BASE WORKERS
		workers, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return compare(args[0], args[1], workers)
	}
	return fmt.Errorf("no such limit: %s", work)
}

// The numbers of linux/btrfs.h.
const (
	iocSnapCreate   = 0x50009401 // BTRFS_IOC_SNAP_CREATE
	iocSubvolCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	iocSnapDestroy  = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	iocTreeSearch   = 0xc0709411 // BTRFS_IOC_TREE_SEARCH_V2
)

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	fd   int64
	name [4088]byte
}

// onName runs an ioctl that takes the name of a subvolume in the directory that it is called on.
func onName(dir *os.File, ioc uintptr, name string) error {
	return onNameFrom(dir, ioc, name, nil)
}

// onNameFrom is onName for an ioctl that takes an open source too.
func onNameFrom(dir *os.File, ioc uintptr, name string, source *os.File) error {
	var args volArgs
	copy(args.name[:], name)
	if source != nil {
		args.fd = int64(source.Fd())
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ioc, uintptr(unsafe.Pointer(&args))); errno != 0 {
		return fmt.Errorf("%s: %w", name, errno)
	}
	return nil
}

// rollover makes a root, exchanges it with the former one, moves that away and commits, without a look at anything.
func rollover(device, dir string) error {
	if err := unix.Mount(device, dir, "btrfs", unix.MS_NOATIME, "subvolid=5"); err != nil {
		return err
	}
	top, err := os.Open(dir)
	if err != nil {
		return err
	}
	fd := int(top.Fd())
	for _, step := range []func() error{
		func() error { return onName(top, iocSubvolCreate, "root.next") },
		func() error { return unix.Renameat2(fd, "root.next", fd, "root", unix.RENAME_EXCHANGE) },
		func() error { return unix.Renameat2(fd, "root.next", fd, "old_roots/former", unix.RENAME_NOREPLACE) },
		top.Sync,
		top.Close,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return unix.Unmount(dir, 0)
}

// compare is what a daemon does for a list of losses, without a bus and without writing the list.
func compare(top, base string, workers int) error {
	fs, err := btrfsops.OpenMounted(top)
	if err != nil {
		return err
	}
	defer fs.Close()
	what := btrfsops.Comparison{Layout: btrfsops.Layout{Root: "root", OldRoots: "old_roots"}, Base: base, Workers: workers}
	return fs.Compare(context.Background(), what, func(btrfsops.Change) error { return nil })
}

func destroy(dir string, names []string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range names {
		if err := onName(f, iocSnapDestroy, name); err != nil {
			return err
		}
	}
	return nil
}

func bind(sources, targets string, count int) error {
	for i := range count {
		name := entryName(i)
		target := filepath.Join(targets, name)
		if err := os.Mkdir(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(filepath.Join(sources, name), target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// searchArgs is struct btrfs_ioctl_search_args_v2 with its buffer.
type searchArgs struct {
	tree, minID, maxID, minOffset, maxOffset, minTransid, maxTransid uint64
	minType, maxType, items                                          uint32
	_                                                                uint32
	_                                                                [4]uint64
	size                                                             uint64
	buf                                                              [256 << 10]byte
}

// searchTree has the kernel copy out what was written into a subvolume since a transaction, and looks at nothing of it but
// where the next search begins.
func searchTree(subvolume string, since uint64) error {
	f, err := os.Open(subvolume)
	if err != nil {
		return err
	}
	defer f.Close()
	args := new(searchArgs)
	args.maxID, args.maxOffset, args.maxTransid, args.maxType = ^uint64(255), ^uint64(0), ^uint64(0), 255
	args.minID, args.minTransid = 256, since
	for {
		args.items, args.size = ^uint32(0), uint64(len(args.buf))
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), iocTreeSearch, uintptr(unsafe.Pointer(args))); errno != 0 {
			return errno
		}
		if args.items == 0 {
			return nil
		}
		at := 0
		for n := uint32(0); n < args.items; n++ {
			header := args.buf[at:]
			args.minID, args.minOffset = binary.NativeEndian.Uint64(header[8:]), binary.NativeEndian.Uint64(header[16:])+1
			args.minType = binary.NativeEndian.Uint32(header[24:])
			at += 32 + int(binary.NativeEndian.Uint32(header[28:]))
		}
	}
}
