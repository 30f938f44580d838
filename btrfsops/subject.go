package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
)

// subject is a subvolume that is compared.
type subject struct {
	dir      *os.File
	info     Subvolume
	finished func() error // removes the snapshot that was made, if any
}

func (s *subject) close() error {
	defer func() { _ = s.dir.Close() }()
	return s.finished()
}

// openSubject opens a subvolume for comparing, or a snapshot of it when it can be written to.
func (fs *Filesystem) openSubject(l Layout, p string) (*subject, error) {
	missing := ErrNoSuchRoot
	if p == "" {
		p, missing = l.Root, ErrNoRoot
	}
	dir, err := openSubvolume(fs.top, p)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %q: %w", missing, p, err)
	}
	if err != nil {
		return nil, err
	}
	s := &subject{dir: dir, finished: func() error { return nil }}
	if s.info, err = subvolumeInfo(dir); err != nil || s.info.ReadOnly {
		return s, err
	}
	held, err := fs.holdSnapshot(l, dir)
	if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrBusy) {
		return s, nil
	}
	_ = dir.Close()
	return held, err
}

// maxSnapshotTries bounds how often a snapshot is made again that was taken for a leftover, and deleted.
const maxSnapshotTries = 3

// holdSnapshot makes a read-only snapshot to search. A crash at any time leaves one with an unfinished name, which counts
// as discarded. While it is searched it is held, which tells it from a leftover.
func (fs *Filesystem) holdSnapshot(l Layout, source *os.File) (*subject, error) {
	oldRoots, err := fs.openOldRoots(l, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = oldRoots.Close() }()
	for range maxSnapshotTries {
		var s *subject
		s, err = fs.trySnapshot(oldRoots, fmt.Sprintf("%s%016x", unfinishedPrefix, rand.Uint64()), source)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, iofs.ErrNotExist) {
			break
		}
	}
	return nil, err
}

func (fs *Filesystem) trySnapshot(oldRoots *os.File, name string, source *os.File) (*subject, error) {
	if err := fs.kernel.createSnapshotWith(oldRoots, name, source, subvolReadOnly); err != nil {
		return nil, err
	}
	dir, err := openSubvolume(oldRoots, name)
	if err != nil {
		return nil, err
	}
	info, err := subvolumeInfo(dir)
	if err != nil {
		_ = dir.Close()
		return nil, err
	}
	s := &subject{dir: dir, info: info, finished: func() error { return fs.kernel.destroySubvolume(fs.top, info.ID) }}
	if err := hold(dir); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}
