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

// NameOf names the root that is mounted at a directory. Errors: ErrNotBtrfs, ErrNotSubvolume, fs.ErrNotExist.
func NameOf(dir string) (RootName, error) {
	f, name, err := openMounted(dir)
	if err == nil {
		_ = f.Close()
	}
	return name, err
}

// MarkRecorded says on the root that is mounted at a directory, durably, that something is going to be recorded that may have to
// be taken from it. The record tells what, and until when; the mark counts where that can't be read (Guards.Unread). Errors as
// of NameOf.
func MarkRecorded(dir string) error {
	f, name, err := openMounted(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	k := &kernel{}
	if err := k.setAttributes(f, name.ID, pair{attrRecorded, "1"}); err != nil {
		return err
	}
	return k.commit(f)
}

// openMounted opens the directory of a subvolume by its path.
func openMounted(dir string) (*os.File, RootName, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, RootName{}, err
	}
	info, err := subvolumeInfo(f)
	if err == nil {
		var whole bool
		if whole, err = isSubvolume(f); err == nil && !whole {
			err = fmt.Errorf("%w: %q is a directory in one", ErrNotSubvolume, dir)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, RootName{}, err
	}
	return f, RootName{info.ID, info.UUID}, nil
}

// OpenFormerRoot opens the directory of a root that was rolled over, for reading: below old_roots or, where a rollover could
// not put it away, beside the root. It may also be the root itself. Errors: ErrNoSuchRoot.
func (fs *Filesystem) OpenFormerRoot(l Layout, id SubvolumeID) (*os.File, error) {
	f, err := fs.openRoot(l, id)
	if !errors.Is(err, ErrNoSuchRoot) {
		return f, err
	}
	for _, name := range []string{l.Root + stagedSuffix, l.Root} {
		f, errOpen := openSubvolume(fs.top, name)
		if errors.Is(errOpen, iofs.ErrNotExist) {
			continue
		}
		if errOpen != nil {
			return nil, errOpen
		}
		info, errInfo := subvolumeInfo(f)
		if errInfo == nil && info.ID == id {
			return f, nil
		}
		_ = f.Close()
	}
	return nil, err
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
