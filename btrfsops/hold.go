package btrfsops

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Who works on a subvolume for longer than the lock of the file system lasts holds it: a comparison its snapshot, a change of
// the template the new one. These are locks of open file descriptions (fcntl(2), F_OFD_SETLK), not flock(2): whether there is one
// can be asked without taking it, so that two who ask never take each other for a holder, nor does one who asks after another
// whose descriptor a process that is being forked still has.

// hold holds the subvolume whose directory f is, for as long as f is open or until release.
func hold(f *os.File) error { return setHold(f, unix.F_RDLCK) } // F_WRLCK would need a descriptor to write with

// release ends hold. Closing alone may come later: a process that is being forked has a copy of the descriptor.
func release(f *os.File) { _ = setHold(f, unix.F_UNLCK) }

func setHold(f *os.File, kind int16) error {
	return wrap("lock", f.Name(), unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind}))
}

// isHeld says whether somebody holds the subvolume at p, relative to the top level.
func (fs *Filesystem) isHeld(p string) (bool, error) {
	f, err := openSubvolume(fs.top, p)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	conflict := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &conflict)
	return conflict.Type != unix.F_UNLCK, wrap("ask for locks of", p, err)
}

// searched says whether a subvolume of old_roots is the snapshot of a comparison that is under way. One that is
// gone, or replaced, is not.
func (fs *Filesystem) searched(l Layout, name string) (bool, error) {
	if !IsUnfinished(name) {
		return false, nil
	}
	held, err := fs.isHeld(path.Join(l.OldRoots, name))
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, ErrNotSubvolume) {
		return false, nil
	}
	return held, err
}
