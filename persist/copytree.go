package persist

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// copier copies a tree with owners, modes, ACLs, extended attributes, hard links, holes, times, sockets, fifos and devices.
// Data is shared where the file systems can. What it makes belongs to root and is closed to others until all of it is
// there, so nobody can interfere.
type copier struct {
	k      *kernel
	top    int                  // directory that the copy is made in
	links  map[InodeID]string   // files with more than one name -> path of the copy below top
	wrote  map[InodeID]struct{} // copies whose data was written instead of shared, to be read back
	count  int
	others int    // those that are neither files nor directories
	bytes  uint64 // the sizes of the files among them
	each   func() // when set, called for each of them
}

// keptFlags are the inode flags that a copy takes over: FS_SYNC_FL, FS_COMPR_FL, FS_NODUMP_FL, FS_NOATIME_FL, FS_NOCOMP_FL,
// FS_DIRSYNC_FL and FS_NOCOW_FL of include/uapi/linux/fs.h. Immutable and append-only would keep the copy from being put in
// place.
const keptFlags = 0x8 | 0x4 | 0x40 | 0x80 | 0x400 | 0x10000 | 0x800000

func newCopier(k *kernel, top int) *copier {
	return &copier{k: k, top: top, links: map[InodeID]string{}, wrote: map[InodeID]struct{}{}}
}

// copy copies from/name to into/as; at is the path of the copy below the top.
func (c *copier) copy(from int, name string, into int, as, at string) error {
	st, err := c.k.stat(from, name)
	if err != nil {
		return err
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fmt.Errorf("%s: %w", name, ErrMountPoint)
	}
	c.count++
	if c.each != nil {
		c.each()
	}
	id := objectOf(st).ID
	if first, ok := c.links[id]; ok && st.Nlink > 1 {
		return c.linkTo(first, into, as)
	}
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		c.links[id] = at
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.directory(from, name, into, as, at)
	case unix.S_IFREG:
		c.bytes += st.Size
		return c.file(from, name, into, as)
	}
	c.others++
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return c.symlink(from, name, into, as, st)
	}
	return c.special(from, name, into, as, st)
}

func (c *copier) linkTo(first string, into int, as string) error {
	dir, err := c.k.open(c.top, path.Dir(first), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer c.k.close(dir)
	return c.k.link(dir, path.Base(first), into, as)
}

func (c *copier) directory(from int, name string, into int, as, at string) error {
	old, err := c.k.open(from, name, openFlags|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer c.k.close(old)
	if err := c.k.mkdir(into, as, 0o700); err != nil {
		return err
	}
	made, err := c.k.open(into, as, openFlags|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer c.k.close(made)
	if err := c.dropInherited(into, made, as); err != nil {
		return err
	}
	if err := c.takeFlags(old, made, as); err != nil {
		return err
	}
	names, err := c.k.names(old)
	if err != nil {
		return err
	}
	defer c.k.lookAhead(old, names)()
	for _, child := range names {
		if err := c.copy(old, child, made, child, path.Join(at, child)); err != nil {
			return fmt.Errorf("%s/%w", name, err)
		}
	}
	return c.finishDirectory(old, made, as)
}

// dropInherited removes the ACLs that a default ACL of the parent gave to what was just made. What the copier makes itself has none to give.
func (c *copier) dropInherited(into, made int, object string) error {
	if into != c.top {
		return nil
	}
	for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := c.k.change("remove attribute "+name+" of", object, func() error { return unix.Removexattr(procPath(made), name) })
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return nil
}

// takeFlags takes over inode flags; some, such as C, only work on what is empty.
func (c *copier) takeFlags(old, made int, object string) error {
	want := c.k.inodeFlags(old) & keptFlags
	have := c.k.inodeFlags(made)
	if want == have&keptFlags {
		return nil
	}
	err := c.k.setInodeFlags(made, object, have&^keptFlags|want)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil // another kind of file system: its flags are hints, not data
	}
	return err
}

func (c *copier) file(from int, name string, into int, as string) error {
	old, err := c.k.open(from, name, openFlags)
	if err != nil {
		return err
	}
	defer c.k.close(old)
	st, err := c.k.stat(old, "")
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s changes while it is copied: %w", name, ErrBusy)
	}
	mode := uint32(0o600)
	if into != c.top { // in a directory that is closed to others
		mode = uint32(st.Mode) & 0o777
	}
	made, err := c.k.openNew(into, as, mode)
	if err != nil {
		return err
	}
	defer c.k.close(made)
	if err := c.dropInherited(into, made, as); err != nil {
		return err
	}
	if err := c.takeFlags(old, made, as); err != nil {
		return err
	}
	if err := c.data(old, made, as, int64(st.Size)); err != nil {
		return err
	}
	return c.finish(old, made, as, st)
}

// data shares the data of old with made, or copies what is not a hole.
func (c *copier) data(old, made int, object string, size int64) error {
	if size == 0 {
		return nil
	}
	shared, err := c.k.reflink(made, old, object)
	if err != nil || shared {
		return err
	}
	st, err := c.k.stat(made, "")
	if err != nil {
		return err
	}
	c.wrote[objectOf(st).ID] = struct{}{}
	if err := c.k.truncate(made, object, size); err != nil {
		return err
	}
	for offset := int64(0); offset < size; {
		begin, err := unix.Seek(old, offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole follows
		}
		end := size
		if err == nil {
			if end, err = unix.Seek(old, begin, unix.SEEK_HOLE); err != nil {
				return wrap("find holes in", object, err)
			}
		} else {
			begin = offset // the file system knows no holes
		}
		if err := c.extent(old, made, object, begin, min(end, size)); err != nil {
			return err
		}
		offset = end
	}
	return nil
}

// extent copies the bytes from begin to end.
func (c *copier) extent(old, made int, object string, begin, end int64) error {
	buf := []byte(nil)
	for begin < end {
		n, err := 0, error(nil)
		if buf == nil {
			n, err = c.k.copyRange(made, old, object, begin, int(min(end-begin, 64<<20)))
		}
		if buf != nil || err != nil { // not between these file systems: by hand
			if buf == nil {
				buf = make([]byte, 1<<20)
			}
			if n, err = readAt(old, buf[:min(int64(len(buf)), end-begin)], begin); err != nil {
				return wrap("read", object, err)
			}
			if err := c.k.write(made, object, buf[:n], begin); err != nil {
				return err
			}
		}
		if n == 0 {
			return nil // became shorter; the check that follows finds it
		}
		begin += int64(n)
	}
	return nil
}

// finishDirectory takes over attributes of a directory, once all is in it.
func (c *copier) finishDirectory(old, made int, object string) error {
	st, err := c.k.stat(old, "")
	if err != nil {
		return err
	}
	return c.finish(old, made, object, st)
}

// finish takes over attributes, those that st tells among them. Their order matters: a change of owner takes away set-id bits
// and capabilities, and any change sets times.
func (c *copier) finish(old, made int, object string, st unix.Statx_t) error {
	attrs, err := c.k.readXattrs(old, object)
	if err != nil {
		return err
	}
	have, err := c.k.stat(made, "")
	if err != nil {
		return err
	}
	if err := c.k.setOwner(made, object, objectOf(have).Owner, objectOf(st).Owner); err != nil {
		return err
	}
	if err := c.k.writeXattrs(made, object, attrs); err != nil {
		return err
	}
	return c.k.utimes(made, "", st.Atime, st.Mtime)
}

func (c *copier) symlink(from int, name string, into int, as string, st unix.Statx_t) error {
	text, err := c.k.readLink(from, name)
	if err != nil {
		return err
	}
	if err := c.k.symlink(text, into, as); err != nil {
		return err
	}
	return c.finishName(from, name, into, as, st)
}

func (c *copier) special(from int, name string, into int, as string, st unix.Statx_t) error {
	dev := unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	if err := c.k.mknod(into, as, uint32(st.Mode)&unix.S_IFMT|0o600, dev); err != nil {
		return err
	}
	return c.finishName(from, name, into, as, st)
}

// finishName takes over attributes of what can't be opened.
func (c *copier) finishName(from int, name string, into int, as string, st unix.Statx_t) error {
	attrs, err := c.k.readXattrsAt(from, name)
	if err != nil {
		return err
	}
	fd, err := c.k.open(into, as, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer c.k.close(fd)
	if err := c.dropInherited(into, fd, as); err != nil {
		return err
	}
	if err := c.k.chown(fd, as, st.Uid, st.Gid); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := c.k.chmod(fd, as, uint32(st.Mode)&0o7777); err != nil {
			return err
		}
	}
	if err := c.k.writeXattrsAt(into, as, attrs); err != nil {
		return err
	}
	return c.k.utimes(into, as, st.Atime, st.Mtime)
}
