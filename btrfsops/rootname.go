package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
)

// RootName names a root for good, also after it has become an old root: rollovers change neither.
type RootName struct {
	ID   SubvolumeID
	UUID string // no subvolume of any file system shares it
}

// String gives it for a person, who finds the id in the name of the old root.
func (n RootName) String() string { return fmt.Sprintf("subvolume %d, UUID %s", n.ID, n.UUID) }

// NameOf names the subvolume that a directory is in, such as the root that is mounted there. Errors: ErrNotBtrfs, fs.ErrNotExist.
func NameOf(dir string) (RootName, error) {
	f, err := os.Open(dir)
	if err != nil {
		return RootName{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := subvolumeInfo(f)
	return RootName{info.ID, info.UUID}, err
}

// OpenFormerRoot opens the directory of a root that was rolled over, for reading: below old_roots or, where a rollover could
// not put it away, beside the root. Errors: ErrNoSuchRoot.
func (fs *Filesystem) OpenFormerRoot(l Layout, id SubvolumeID) (*os.File, error) {
	f, err := fs.openRoot(l, id)
	if !errors.Is(err, ErrNoSuchRoot) {
		return f, err
	}
	staged, errStaged := openSubvolume(fs.top, l.Root+stagedSuffix)
	if errors.Is(errStaged, iofs.ErrNotExist) {
		return nil, err
	}
	if errStaged != nil {
		return nil, errStaged
	}
	if info, errInfo := subvolumeInfo(staged); errInfo != nil || info.ID != id {
		_ = staged.Close()
		return nil, errors.Join(err, errInfo)
	}
	return staged, nil
}

// OpenNamedRoot is OpenFormerRoot for a root with a name, which another subvolume of its id does not have.
func (fs *Filesystem) OpenNamedRoot(l Layout, name RootName) (*os.File, error) {
	f, err := fs.OpenFormerRoot(l, name.ID)
	if err != nil {
		return nil, err
	}
	info, err := subvolumeInfo(f)
	if err == nil && info.UUID != name.UUID {
		err = fmt.Errorf("%w: subvolume %d has the UUID %s", ErrNoSuchRoot, name.ID, info.UUID)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
