package btrfsops

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// stubNumber is the inode number of what a snapshot has in the place of a subvolume inside its source: BTRFS_EMPTY_SUBVOL_DIR_OBJECTID of
// fs/btrfs/btrfs_inode.h.
const stubNumber = 2

// fillStubs makes directories of what a snapshot has in the places of the subvolumes inside its source, with their owners and modes. As the
// kernel leaves them nothing can be made there, nor can anybody change them (new_simple_dir in fs/btrfs/inode.c), and a copy of the copy is no
// better: a fresh root would have a /var/lib/machines, which systemd makes a subvolume, that is of no use.
func (fs *Filesystem) fillStubs(snapshot *os.File, source string) error {
	inside, err := fs.SubvolumesIn(source)
	if err != nil {
		return err
	}
	for _, p := range inside {
		if err := fs.fillStub(snapshot, source, p); err != nil && !errors.Is(err, iofs.ErrNotExist) { // inside another, or gone since
			return err
		}
	}
	return nil
}

func (fs *Filesystem) fillStub(snapshot *os.File, source, p string) error {
	dir, err := openBeneath(snapshot, path.Dir(p))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	name := path.Base(p)
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return wrap("stat", p, err)
	}
	if st.Ino != stubNumber || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	original, err := openSubvolume(fs.top, path.Join(source, p))
	if err != nil {
		return err
	}
	defer func() { _ = original.Close() }()
	if err := unix.Fstat(int(original.Fd()), &st); err != nil {
		return wrap("stat", p, err)
	}
	if err := fs.kernel.removeDirectory(dir, name); err != nil {
		return err
	}
	if err := fs.kernel.makeDirectory(dir, name, 0o700); err != nil {
		return err
	}
	made, err := openBeneath(dir, name)
	if err != nil {
		return err
	}
	defer func() { _ = made.Close() }()
	if err := fs.kernel.changeOwner(made, st.Uid, st.Gid); err != nil {
		return err
	}
	return fs.kernel.changeMode(made, st.Mode&0o7777)
}
