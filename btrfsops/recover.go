package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// recover puts away what an interrupted rollover left at root.next, and says in a sentence what it did.
func (r *rollover) recover() (string, error) {
	info, a, err := r.describe(r.staged)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return "", nil
	case errors.Is(err, ErrNotSubvolume):
		return "", fmt.Errorf("%w; move it away, rollover needs the name", err)
	case err != nil:
		return "", err
	}
	if err := r.refuseMounted(info.ID); err != nil { // where it is the default subvolume, and nothing was done before that was mounted
		return "", err
	}
	if r.former != nil {
		if err := r.follow(r.former.ID); err != nil {
			return "", err
		}
	}
	kind := judge(r.former, info, a)
	where, err := r.putAway(kind, r.rolledOverAt(info))
	if err != nil {
		return "", err
	}
	if kind == KindDiscarded {
		return fmt.Sprintf("a rollover had stopped before the exchange: its unused root, subvolume %d, is now %s", info.ID, where), nil
	}
	return fmt.Sprintf("a rollover had stopped after the exchange: the former root, subvolume %d, is now %s", info.ID, where), nil
}

// judge decides what the subvolume at root.next is. Ids and marks decide, never names. Whatever is not surely a root that
// nobody ever used is kept as an old root.
func judge(root *former, next Subvolume, a attributes) Kind {
	if root != nil {
		if replaces, ok := root.attributes.replaces(); ok && replaces == next.ID {
			return KindOld // the exchange was done: next is the former root
		}
	}
	_, staged := a[attrStaged]
	if staged {
		return KindDiscarded // the exchange was not done
	}
	newer := root == nil || next.ID > root.ID
	if newer && next.pristine() {
		return KindDiscarded // cut between its making and its marking
	}
	return KindOld
}

// putAway moves what is at root.next into old_roots, marked as kind and with a time, and returns where it is then.
func (r *rollover) putAway(kind Kind, at time.Time) (where string, err error) {
	where = r.Layout.Root + stagedSuffix
	f, err := openSubvolume(r.parent, r.staged)
	if err != nil {
		return where, err
	}
	defer func() { _ = f.Close() }()
	oldRoots, err := r.openOldRoots(r.Layout, true)
	if err != nil {
		return where, err
	}
	defer func() { _ = oldRoots.Close() }()
	info, err := subvolumeInfo(f)
	if err != nil {
		return where, err
	}
	// A read-only subvolume does not move between directories (EROFS).
	err = r.kernel.writable(f, func() error {
		err := r.kernel.setAttributes(f, info.ID,
			pair{attrKind, string(kind)}, pair{attrRolledOver, at.Format(timeFormat)}, pair{attrNext, ""}, pair{attrStaged, ""})
		if err != nil && (kind != KindOld || !errors.Is(err, ErrNoSpace)) {
			return err
		}
		// A root at the limit of its quota takes no attributes. It is an old root without them, of the time in its name; one that nobody
		// used would count as one as well.
		name, err := r.moveInto(oldRoots, info.ID, at)
		if err == nil {
			where = path.Join(r.Layout.OldRoots, name)
		}
		return err
	})
	return where, err
}

// maxNameTries bounds the search for a free name.
const maxNameTries = 100

// moveInto renames root.next to a free name. Only a thing that is no old root of ours can have the name (it ends with the
// subvolume's own id); then the next second's is tried.
func (r *rollover) moveInto(oldRoots *os.File, id SubvolumeID, at time.Time) (string, error) {
	var err error
	for i := range maxNameTries {
		name := rootName(at.Add(time.Duration(i)*time.Second), id)
		err = r.kernel.rename(r.parent, r.staged, oldRoots, name, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) {
			return name, err
		}
	}
	return "", err
}
