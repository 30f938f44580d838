package btrfsops

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Layout says where on the top level the subvolumes of one ephemeral mount point are. Paths are relative to the top level.
type Layout struct {
	Root     string // the root subvolume
	OldRoots string // a plain directory or a subvolume
	Template string // empty: fresh roots are empty
}

// stagedSuffix names the staged root: beside the root, so that the exchange stays within one directory.
const stagedSuffix = ".next"

// Check refuses a layout whose paths would leave the top level or run into each other.
func (l Layout) Check() error {
	for _, p := range []struct{ what, path string }{{"root", l.Root}, {"old roots", l.OldRoots}, {"template", l.Template}} {
		if p.path == "" && p.what == "template" {
			continue
		}
		if !iofs.ValidPath(p.path) || p.path == "." {
			return fmt.Errorf("%w: %s %q is not a path relative to the top level", ErrInvalidName, p.what, p.path)
		}
	}
	reserved := l.Root + stagedSuffix
	for _, other := range []string{l.OldRoots, l.Template} {
		if within(other, l.Root) || within(other, reserved) {
			return fmt.Errorf("%w: %q lies inside %q or %q, which rollover replaces", ErrInvalidName, other, l.Root, reserved)
		}
	}
	if within(l.Root, l.OldRoots) || within(l.Template, l.OldRoots) {
		return fmt.Errorf("%w: %q must not hold the root or the template", ErrInvalidName, l.OldRoots)
	}
	return nil
}

// within says whether p is dir or lies below it. Both are clean and relative.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// openBeneath opens a directory below dir, never through a symlink, a mount point or "..".
func openBeneath(dir *os.File, name string) (*os.File, error) {
	return openAs(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openAs opens what is below dir with flags of open(2), never through a symlink, a mount point or "..".
func openAs(dir *os.File, name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return nil, wrap("open", name, err)
		}
	}
}

// openSubvolume opens the directory of a subvolume below dir. Errors: ErrNotSubvolume, fs.ErrNotExist.
func openSubvolume(dir *os.File, name string) (*os.File, error) {
	f, err := openBeneath(dir, name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return nil, fmt.Errorf("%w: %w", ErrNotSubvolume, err)
	}
	if err != nil {
		return nil, err
	}
	ok, err := isSubvolume(f)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %q", ErrNotSubvolume, name)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// isSubvolume: the directory of a subvolume, and no other on btrfs, has inode number 256.
func isSubvolume(f *os.File) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, wrap("stat", f.Name(), err)
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &sfs); err != nil {
		return false, wrap("stat", f.Name(), err)
	}
	return st.Ino == firstFreeID && sfs.Type == btrfsMagic, nil
}

// openParent opens the directory that holds p, a path relative to the top level, and returns the last name beside it.
func (fs *Filesystem) openParent(p string) (*os.File, string, error) {
	dir, name := path.Split(p)
	parent, err := openBeneath(fs.top, path.Clean("./"+dir))
	return parent, name, err
}

// openOldRoots opens the directory that holds the old roots. A missing one is made when create is set.
func (fs *Filesystem) openOldRoots(l Layout, create bool) (*os.File, error) {
	dir, err := openBeneath(fs.top, l.OldRoots)
	if !create || !errors.Is(err, unix.ENOENT) {
		return dir, err
	}
	parent, name, err := fs.openParent(l.OldRoots)
	if err != nil {
		return nil, err
	}
	defer func() { _ = parent.Close() }()
	// 0700: an old root holds what was private in the root.
	if err := fs.kernel.makeDirectory(parent, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return openBeneath(fs.top, l.OldRoots)
}

// HasDirectory tells whether the root has a directory of that name, relative to it, and no symlink on the way.
func (fs *Filesystem) HasDirectory(l Layout, name string) bool {
	dir, err := openBeneath(fs.top, path.Join(l.Root, name))
	if err != nil {
		return false
	}
	_ = dir.Close()
	return true
}

// maxReadInRoot bounds what ReadInRoot returns.
const maxReadInRoot = 1 << 20

// ReadInRoot reads a small file (at most 1 MiB) of the root, where the root is not mounted. Symlinks are followed as if
// the root were "/".
func (fs *Filesystem) ReadInRoot(l Layout, name string) ([]byte, error) {
	root, err := openSubvolume(fs.top, l.Root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(root.Fd()), name, &how)
	if err != nil {
		return nil, wrap("open", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxReadInRoot))
	return data, wrap("read", name, err)
}
