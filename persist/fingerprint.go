package persist

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"golang.org/x/sys/unix"
)

// fingerprint sums up a tree by names, kinds, owners, sizes and times of files, without reading them. Owner and mode of what is
// at name itself do not count.
func (k *kernel) fingerprint(dir int, name string) ([]byte, error) {
	return k.sumOfTree(dir, name, false)
}

// seedSum tells what a source was made from, and that it was: a file by its content; a tree as fingerprint does and by which
// inode each file is and when it last changed in any way, which nobody can set. Fresh roots are snapshots of the template and
// have that in common. One that has not is compared by content.
func (k *kernel) seedSum(dir int, name string) ([]byte, error) {
	st, err := k.stat(dir, name)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return k.sumOfTree(dir, name, true)
	}
	fd, err := k.open(dir, name, openFlags)
	if err != nil {
		return nil, err
	}
	defer k.close(fd)
	sum, _, err := k.contentSum(fd, name)
	return sum, err
}

func (k *kernel) sumOfTree(dir int, name string, inodes bool) ([]byte, error) {
	sum := fnv.New128a()
	if err := k.sumUp(sum, dir, name, "", inodes); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

func (k *kernel) sumUp(sum io.Writer, dir int, name, as string, inodes bool) error {
	st, err := k.stat(dir, name)
	if err = errors.Join(err, k.canceled()); err != nil {
		return err
	}
	if as != "" { // owner and mode of the place itself follow the source
		fmt.Fprintf(sum, "%q %o %d %d %d:%d", as, st.Mode, st.Uid, st.Gid, st.Rdev_major, st.Rdev_minor)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		fmt.Fprintf(sum, " %d %d.%d", st.Size, st.Mtime.Sec, st.Mtime.Nsec)
		if inodes {
			fmt.Fprintf(sum, " %d %d.%d", st.Ino, st.Ctime.Sec, st.Ctime.Nsec)
		}
		fmt.Fprintln(sum)
	case unix.S_IFLNK:
		text, err := k.readLink(dir, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, " %q\n", text)
	case unix.S_IFDIR:
		fd, err := k.open(dir, name, openFlags|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer k.close(fd)
		names, err := k.names(fd)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, " %d\n", len(names))
		for _, child := range names {
			if err := k.sumUp(sum, fd, child, child, inodes); err != nil {
				return err
			}
		}
	}
	return nil
}

// contentSum sums up what an open file holds, and counts its bytes.
func (k *kernel) contentSum(fd int, name string) (sum []byte, size int64, err error) {
	hash := fnv.New128a()
	buf := make([]byte, 32<<10)
	for {
		n, err := readAt(fd, buf, size)
		if err = errors.Join(err, k.canceled()); err != nil {
			return nil, size, wrap("read", name, err)
		}
		if n == 0 {
			return hash.Sum(nil), size, nil
		}
		_, _ = hash.Write(buf[:n])
		size += int64(n)
	}
}
