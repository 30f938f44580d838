package persist

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// openFlags are those for reading a file or directory that may be anybody's: a fifo that took its place doesn't block, and
// no terminal becomes ours.
const openFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// names lists a directory, sorted. It leaves the descriptor's offset at the end.
func (k *kernel) names(dir int) ([]string, error) {
	if _, err := unix.Seek(dir, 0, unix.SEEK_SET); err != nil {
		return nil, wrap("read directory", "", err)
	}
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, wrap("read directory", "", err)
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// lookAhead has the kernel find what is in a directory before it is asked for, one name after the other: where nothing is in memory
// yet, a copy waits for that a quarter of its time. end ends it; dir stays open until then.
func (k *kernel) lookAhead(dir int, names []string) (end func()) {
	var looking sync.WaitGroup
	var ended atomic.Bool
	looking.Go(func() {
		for _, name := range names {
			if ended.Load() {
				return
			}
			_, _ = k.stat(dir, name) // who asks for it next is told what is wrong
		}
	})
	return func() {
		ended.Store(true)
		looking.Wait()
	}
}

// emptyDir tells whether a directory has no entries.
func (k *kernel) emptyDir(dir int, name string) (bool, error) {
	fd, err := k.open(dir, name, openFlags|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer k.close(fd)
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n == 0 {
			return n == 0, wrap("read directory", name, err)
		}
		if _, _, names := unix.ParseDirent(buf[:n], 1, nil); len(names) > 0 {
			return false, nil
		}
	}
}

// missingFrom gives the first thing of a tree that another tree lacks: a name, a kind, a symlink's text or a file's content.
// What only the other has, and who owns what, does not count. Empty: nothing would be hidden that isn't there.
// Files of one size are read: many have one time, too, as reproducible builds and the Nix store set it.
func (k *kernel) missingFrom(dir int, name string, otherDir int, other string) (string, error) {
	return k.missing(dir, name, otherDir, other, false)
}

// missing does so. snapshots: the trees are, or were made from, snapshots of one another, where a file that has not been touched
// since has the same inode number and the same time of its last change, which nobody can set. Such a file is not read.
func (k *kernel) missing(dir int, name string, otherDir int, other string, snapshots bool) (string, error) {
	st, err := k.stat(dir, name)
	if err := errors.Join(err, k.canceled()); err != nil {
		return "", err
	}
	have, err := k.stat(otherDir, other)
	if errors.Is(err, unix.ENOENT) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	same := st.Mode&unix.S_IFMT == have.Mode&unix.S_IFMT
	switch {
	case !same, st.Rdev_major != have.Rdev_major, st.Rdev_minor != have.Rdev_minor:
		return name, nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return k.childMissing(dir, name, otherDir, other, snapshots)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		same, err = k.sameLink(dir, name, otherDir, other)
	case st.Mode&unix.S_IFMT == unix.S_IFREG:
		same = st.Size == have.Size
		untouched := snapshots && st.Ino == have.Ino && st.Ctime == have.Ctime && st.Mtime == have.Mtime
		if same && st.Size > 0 && !untouched {
			same, err = k.sameContent(dir, name, otherDir, other)
		}
	}
	if err != nil || same {
		return "", err
	}
	return name, nil
}

// childMissing looks into two directories.
func (k *kernel) childMissing(dir int, name string, otherDir int, other string, snapshots bool) (string, error) {
	a, b, err := k.openBoth(dir, name, otherDir, other, unix.O_DIRECTORY)
	if err != nil {
		return "", err
	}
	defer k.close(a)
	defer k.close(b)
	names, err := k.names(a)
	if err != nil {
		return "", err
	}
	for _, child := range names {
		st, err := k.stat(a, child)
		if err != nil {
			return "", err
		}
		missing := ""
		if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			missing = child + " (a mount)"
		} else if missing, err = k.missing(a, child, b, child, snapshots); err != nil {
			return "", err
		}
		if missing != "" {
			return name + "/" + missing, nil
		}
	}
	return "", nil
}

func (k *kernel) openBoth(dir int, name string, otherDir int, other string, flags uint64) (a, b int, err error) {
	a, err = k.open(dir, name, openFlags|flags)
	if err != nil {
		return -1, -1, err
	}
	b, err = k.open(otherDir, other, openFlags|flags)
	if err != nil {
		k.close(a)
		return -1, -1, err
	}
	return a, b, nil
}

func (k *kernel) sameLink(dir int, name string, otherDir int, other string) (bool, error) {
	a, err := k.readLink(dir, name)
	if err != nil {
		return false, err
	}
	b, err := k.readLink(otherDir, other)
	return a == b, err
}

// sameContent compares two files byte by byte.
func (k *kernel) sameContent(dir int, name string, otherDir int, other string) (bool, error) {
	a, b, err := k.openBoth(dir, name, otherDir, other, 0)
	if err != nil {
		return false, err
	}
	defer k.close(a)
	defer k.close(b)
	bufA, bufB := make([]byte, 128<<10), make([]byte, 128<<10)
	for offset := int64(0); ; {
		if err := k.canceled(); err != nil {
			return false, err
		}
		n, err := readAt(a, bufA, offset)
		if err != nil {
			return false, wrap("read", name, err)
		}
		m, err := readAt(b, bufB, offset)
		if err != nil {
			return false, wrap("read", other, err)
		}
		if n != m || !slices.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if n == 0 {
			return true, nil
		}
		offset += int64(n)
	}
}

// readAt fills the buffer as far as the file goes.
func readAt(fd int, buf []byte, offset int64) (int, error) {
	total := 0
	for total < len(buf) {
		n, err := unix.Pread(fd, buf[total:], offset+int64(total))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return total, err
		}
		if n == 0 {
			break
		}
		total += n
	}
	return total, nil
}
