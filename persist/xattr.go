package persist

import (
	"bytes"
	"errors"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attributes that this package writes. They describe the inode that they are on, and are not copied to another.
const (
	attrPrefix = "trusted.impermanence."
	attrSeed   = attrPrefix + "seed" // on a source: the sum of what it was seeded from, or has all of; see seedSum
	attrCopy   = attrPrefix + "copy" // on a source that is copied: the root that it was last copied to or from, and its sum then
)

// xattrs are extended attributes by name; POSIX ACLs and capabilities are among them.
type xattrs map[string][]byte

// readXattrs reads all extended attributes of an inode that is opened for reading. A file system without any has none.
func (k *kernel) readXattrs(fd int, object string) (xattrs, error) {
	return collectXattrs(object,
		func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) },
		func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) })
}

// readXattrsAt reads those of a name that can't be opened, such as a symlink, without following it.
func (k *kernel) readXattrsAt(dir int, name string) (xattrs, error) {
	return collectXattrs(name,
		func(buf []byte) (int, error) { return listXattrsAt(dir, name, buf) },
		func(attr string, buf []byte) (int, error) { return unix.Lgetxattr(procPath(dir)+"/"+name, attr, buf) })
}

// listXattrsAt is listxattrat(2), of Linux 6.13. Where that is not there, or a filter of system calls does not know it, the way leads through
// /proc, which takes three times as long.
func listXattrsAt(dir int, name string, buf []byte) (int, error) {
	if cname, err := unix.BytePtrFromString(name); err == nil {
		n, _, errno := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(dir), uintptr(unsafe.Pointer(cname)), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)), 0)
		if errno == 0 {
			return int(n), nil
		}
	}
	return unix.Llistxattr(procPath(dir)+"/"+name, buf)
}

func collectXattrs(object string, list func([]byte) (int, error), get func(string, []byte) (int, error)) (xattrs, error) {
	size, err := list(nil)
	if errors.Is(err, unix.EOPNOTSUPP) || err == nil && size == 0 {
		return nil, nil
	}
	var names []byte
	if err == nil {
		names, err = grow(list)
	}
	if err != nil {
		return nil, wrap("list attributes of", object, err)
	}
	all := xattrs{}
	for name := range bytes.SplitSeq(bytes.TrimSuffix(names, []byte{0}), []byte{0}) {
		if strings.HasPrefix(string(name), attrPrefix) {
			continue
		}
		value, err := grow(func(buf []byte) (int, error) { return get(string(name), buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed in between
		}
		if err != nil {
			return nil, wrap("read attribute "+string(name)+" of", object, err)
		}
		all[string(name)] = value
	}
	return all, nil
}

// grow calls a function that fills a buffer until the buffer is large enough.
func grow(fill func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := fill(buf)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}

// writeXattrs sets attributes on an inode that is opened for reading or writing.
func (k *kernel) writeXattrs(fd int, object string, attrs xattrs) error {
	for name, value := range attrs {
		if err := k.setXattr(fd, object, name, value); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernel) setXattr(fd int, object, name string, value []byte) error {
	err := k.change("set attribute "+name+" of", object, func() error { return unix.Fsetxattr(fd, name, value, 0) })
	return dispensable(name, err)
}

// writeXattrsAt sets attributes of a name that can't be opened, without following it.
func (k *kernel) writeXattrsAt(dir int, name string, attrs xattrs) error {
	path := procPath(dir) + "/" + name
	for attr, value := range attrs {
		err := k.change("set attribute "+attr+" of", name, func() error { return unix.Lsetxattr(path, attr, value, 0) })
		if err := dispensable(attr, err); err != nil {
			return err
		}
	}
	return nil
}

// dispensable forgives an attribute that means something on one file system or one kernel only: btrfs's own properties
// elsewhere, and the signatures that the kernel makes itself.
func dispensable(name string, err error) error {
	if err == nil {
		return nil
	}
	for _, prefix := range []string{"btrfs.", "security.evm", "security.ima"} {
		if strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return err
}

// readXattr reads one attribute of a name without following it; nil when it is not there.
func (k *kernel) readXattr(dir int, name, attr string) []byte {
	value, err := grow(func(buf []byte) (int, error) { return unix.Lgetxattr(procPath(dir)+"/"+name, attr, buf) })
	if err != nil {
		return nil
	}
	return value
}

// equal tells whether two sets hold the same, the dispensable ones aside.
func (x xattrs) equal(other xattrs) bool {
	return x.within(other) && other.within(x)
}

func (x xattrs) within(other xattrs) bool {
	for name, value := range x {
		if !bytes.Equal(other[name], value) && dispensable(name, unix.EINVAL) != nil {
			return false
		}
	}
	return true
}
