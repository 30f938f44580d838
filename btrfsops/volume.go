package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MakeSubvolume makes an empty subvolume for a volume, with mode 0755, durably. One that is there already is left as it is,
// and made says false. Errors: ErrNotSubvolume for something else there, ErrNoSpace, ErrReadOnly, ErrBusy.
func (fs *Filesystem) MakeSubvolume(p string) (info Subvolume, made bool, err error) {
	unlock, err := fs.lock()
	if err != nil {
		return Subvolume{}, false, err
	}
	defer unlock()
	info, found, err := fs.subvolumeAt(p)
	if err != nil || found {
		return info, false, err
	}
	parent, name, err := fs.openParent(p)
	if err != nil {
		return Subvolume{}, false, err
	}
	defer func() { _ = parent.Close() }()
	if err := fs.kernel.createSubvolume(parent, name); err != nil {
		return Subvolume{}, false, err
	}
	f, err := openSubvolume(parent, name)
	if err != nil {
		return Subvolume{}, false, err
	}
	defer func() { _ = f.Close() }()
	if err := fs.kernel.changeMode(f, 0o755); err != nil {
		return Subvolume{}, false, err
	}
	if err := fs.Sync(); err != nil {
		return Subvolume{}, false, err
	}
	info, err = subvolumeInfo(f)
	return info, true, err
}

// RemoveSubvolume deletes the subvolume at p with those in it, durably, if it still has that id. Nothing there is no error.
// Errors: ErrStateChanged, ErrProtected, ErrBusy.
func (fs *Filesystem) RemoveSubvolume(p string, id SubvolumeID) error {
	unlock, err := fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := fs.isStill(p, id); errors.Is(err, iofs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	parent, _, err := fs.openParent(p)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := fs.destroyTree(id); err != nil {
		return err
	}
	return fs.kernel.commit(parent)
}

// isStill checks that the subvolume at p is the one that the caller has looked at.
func (fs *Filesystem) isStill(p string, id SubvolumeID) error {
	info, err := fs.SubvolumeAt(p)
	if err == nil && info.ID != id {
		err = fmt.Errorf("%w: %q is subvolume %d, not %d", ErrStateChanged, p, info.ID, id)
	}
	return err
}

// SubvolumeAt describes the subvolume at p, relative to the top level. Errors: fs.ErrNotExist, ErrNotSubvolume.
func (fs *Filesystem) SubvolumeAt(p string) (Subvolume, error) {
	info, found, err := fs.subvolumeAt(p)
	if err == nil && !found {
		err = fmt.Errorf("subvolume %q: %w", p, iofs.ErrNotExist)
	}
	return info, err
}

// PathOf tells where a subvolume stands, relative to the top level. Errors: ErrNoSuchRoot.
func (fs *Filesystem) PathOf(id SubvolumeID) (string, error) {
	t, err := fs.subvolumes()
	if err != nil {
		return "", err
	}
	return fs.pathOf(t, id)
}

// MakeOldRoots makes the directory of the old roots where it is missing, as a rollover does.
func (fs *Filesystem) MakeOldRoots(l Layout) error {
	dir, err := fs.openOldRoots(l, true)
	if err != nil {
		return err
	}
	_ = dir.Close()
	return fs.Sync()
}

// RemoveOldRoots removes the directory of the old roots when it is empty, durably; false: it holds something, and stays.
func (fs *Filesystem) RemoveOldRoots(l Layout) (bool, error) {
	parent, name, err := fs.openParent(l.OldRoots)
	if err != nil {
		return false, err
	}
	defer func() { _ = parent.Close() }()
	err = fs.kernel.removeDirectory(parent, name)
	switch {
	case errors.Is(err, unix.ENOTEMPTY):
		return false, nil
	case err != nil && !errors.Is(err, unix.ENOENT):
		return false, err
	}
	return true, fs.kernel.commit(parent)
}

// SubvolumesIn lists the subvolumes inside the one at p, at any depth, by their paths below it, each before those that it holds.
func (fs *Filesystem) SubvolumesIn(p string) ([]string, error) {
	outer, err := fs.SubvolumeAt(p)
	if err != nil {
		return nil, err
	}
	t, err := fs.subvolumes()
	if err != nil {
		return nil, err
	}
	var inside []string
	for _, id := range t.below(outer.ID) {
		at, err := fs.pathOf(t, id)
		if err != nil {
			return nil, err
		}
		inside = append(inside, strings.TrimPrefix(at, p+"/"))
	}
	slices.Sort(inside)
	return inside, nil
}
