package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// SnapshotOptions describe a snapshot.
type SnapshotOptions struct {
	Label  string // free text, at most 255 bytes
	BootID string // of this boot
	Now    time.Time
}

// Snapshot makes a read-only copy of the root beside the old roots, durably. Data that programs have written and not yet
// synced is in it (the kernel flushes the root first); what they hold in their own buffers is not.
//
// It is made under an unfinished name and renamed when it has its attributes: a crash before that leaves a subvolume that
// ListRoots calls discarded. Errors: ErrNoRoot, ErrNoSpace, ErrReadOnly, ErrBusy, ErrInvalidName, ErrRootExists.
func (fs *Filesystem) Snapshot(ctx context.Context, l Layout, o SnapshotOptions) (OldRoot, error) {
	if err := checkLabel(o.Label); err != nil {
		return OldRoot{}, err
	}
	if err := l.Check(); err != nil {
		return OldRoot{}, err
	}
	unlock, err := fs.lock()
	if err != nil {
		return OldRoot{}, err
	}
	defer unlock()
	if err := ctx.Err(); err != nil {
		return OldRoot{}, err
	}
	id, err := fs.snapshot(l, o)
	if err != nil {
		return OldRoot{}, fmt.Errorf("snapshot root %q: %w", l.Root, err)
	}
	return fs.findRoot(l, id)
}

func (fs *Filesystem) snapshot(l Layout, o SnapshotOptions) (SubvolumeID, error) {
	root, err := openSubvolume(fs.top, l.Root)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoRoot, err)
	}
	defer func() { _ = root.Close() }()
	oldRoots, err := fs.openOldRoots(l, true)
	if err != nil {
		return 0, err
	}
	defer func() { _ = oldRoots.Close() }()
	unfinished := unfinishedPrefix + strconv.FormatInt(o.Now.UnixNano(), 10)
	if err := fs.kernel.createSnapshot(oldRoots, unfinished, root); err != nil {
		return 0, err
	}
	made, err := openSubvolume(oldRoots, unfinished)
	if err != nil {
		return 0, err
	}
	defer func() { _ = made.Close() }()
	return fs.finishSnapshot(oldRoots, made, o)
}

// finishSnapshot gives a snapshot its attributes, its flag and its name.
func (fs *Filesystem) finishSnapshot(oldRoots, made *os.File, o SnapshotOptions) (SubvolumeID, error) {
	k := &fs.kernel
	info, err := subvolumeInfo(made)
	if err != nil {
		return 0, err
	}
	err = k.setAttributes(made, info.ID, pair{attrKind, string(KindSnapshot)}, pair{attrBootID, o.BootID},
		pair{attrRolledOver, clampYear(o.Now.UTC()).Format(timeFormat)}, pair{attrLabel, o.Label})
	if err != nil {
		return 0, err
	}
	if err := k.setReadOnly(made, true); err != nil {
		return 0, err
	}
	err = k.rename(oldRoots, path.Base(made.Name()), oldRoots, rootName(o.Now, info.ID), unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		err = fmt.Errorf("%w: %w", ErrRootExists, err)
	}
	if err != nil {
		return 0, err
	}
	return info.ID, k.commit(oldRoots)
}

// findRoot returns one old root or snapshot by id. Errors: ErrNoSuchRoot.
func (fs *Filesystem) findRoot(l Layout, id SubvolumeID) (OldRoot, error) {
	roots, err := fs.ListRoots(l)
	if err != nil {
		return OldRoot{}, err
	}
	for _, root := range roots {
		if root.ID == id {
			return root, nil
		}
	}
	return OldRoot{}, fmt.Errorf("%w: subvolume %d", ErrNoSuchRoot, id)
}
