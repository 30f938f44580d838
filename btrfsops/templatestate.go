package btrfsops

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// retireTemplate does step 3 of NewTemplate.Commit: the former template stands at template.next, and the new one in its place.
func (fs *Filesystem) retireTemplate(l Layout, parent *os.File) error {
	staged, kept := path.Base(l.Template)+templateStaged, path.Base(l.Template)+templateFormer
	_, found, err := fs.subvolumeAt(l.Template + templateFormer)
	if err != nil {
		return err
	}
	if !found {
		return fs.kernel.rename(parent, staged, parent, kept, unix.RENAME_NOREPLACE)
	}
	if err := fs.kernel.rename(parent, staged, parent, kept, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return fs.dropStaged(l)
}

// dropStaged deletes what is at template.next.
func (fs *Filesystem) dropStaged(l Layout) error {
	info, found, err := fs.subvolumeAt(l.Template + templateStaged)
	if err != nil || !found {
		return err
	}
	return fs.destroyTree(info.ID)
}

// recoverTemplate finishes or drops what an interrupted change left at template.next. Ids and marks decide, never names; what
// is not surely ours is left, with an error.
func (fs *Filesystem) recoverTemplate(l Layout, parent *os.File) error {
	t, err := fs.Templates(l)
	if err != nil || t.Staged == nil {
		return err
	}
	busy, err := fs.isHeld(l.Template + templateStaged)
	if err != nil {
		return err
	}
	if busy {
		return fmt.Errorf("%w: the template is being changed", ErrBusy)
	}
	marked := false // of the last, the staged one
	replaced := map[*Subvolume]SubvolumeID{}
	for _, s := range []*Subvolume{t.Current, t.Former, t.Staged} {
		if s == nil {
			continue
		}
		a, err := fs.attributesOf(s.ID)
		if err != nil {
			return err
		}
		replaced[s], _ = a.replaces()
		_, marked = a[attrStaged]
	}
	switch next := t.Staged; {
	case t.Current != nil && replaced[t.Current] == next.ID: // the exchange was done
		return fs.retireTemplate(l, parent)
	case marked,
		next.pristine() && (t.Current == nil || next.ID > t.Current.ID), // cut between its making and its marking
		t.onItsWayOut(replaced):
		return fs.destroyTree(next.ID)
	}
	return fmt.Errorf("%w: %q is in the way; move it away, a change of the template needs the name", ErrInvalidName, l.Template+templateStaged)
}

// onItsWayOut says whether what is at template.next was kept as the former template before the one that is now: of the two, one
// was made to replace the other, whichever way a rollback put them.
func (t Templates) onItsWayOut(replaced map[*Subvolume]SubvolumeID) bool {
	return t.Current != nil && t.Former != nil && replaced[t.Current] == t.Former.ID &&
		(replaced[t.Former] == t.Staged.ID || replaced[t.Staged] == t.Former.ID)
}

// RollBackTemplate exchanges the template with the former one, durably: a second time takes it back. Errors: ErrNoTemplate
// when no former one is kept, ErrBusy.
func (fs *Filesystem) RollBackTemplate(ctx context.Context, l Layout) (Templates, error) {
	unlock, parent, err := fs.beginTemplate(ctx, l)
	if err != nil {
		return Templates{}, err
	}
	defer unlock()
	defer func() { _ = parent.Close() }()
	if err := fs.rollBackTemplate(l, parent); err != nil {
		return Templates{}, fmt.Errorf("roll back template %q: %w", l.Template, err)
	}
	return fs.Templates(l)
}

func (fs *Filesystem) rollBackTemplate(l Layout, parent *os.File) error {
	t, err := fs.Templates(l)
	if err != nil {
		return err
	}
	if t.Current == nil || t.Former == nil {
		return fmt.Errorf("%w: no former one is kept", ErrNoTemplate)
	}
	name := path.Base(l.Template)
	if err := fs.kernel.rename(parent, name+templateFormer, parent, name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return fs.kernel.commit(parent)
}

// RemoveTemplate deletes the template and the former one: until there is one again, a rollover of the layout fails, and the
// root stays. One that is mounted or the default subvolume is ErrProtected. There being none is no error.
func (fs *Filesystem) RemoveTemplate(ctx context.Context, l Layout) error {
	unlock, parent, err := fs.beginTemplate(ctx, l)
	if errors.Is(err, iofs.ErrNotExist) { // nor is there a directory for it
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	defer func() { _ = parent.Close() }()
	t, err := fs.Templates(l)
	if err != nil {
		return err
	}
	for _, s := range []*Subvolume{t.Current, t.Former} { // the template first: without it nothing is rolled over
		if s == nil {
			continue
		}
		if err := fs.destroyTree(s.ID); err != nil {
			return fmt.Errorf("remove template %q: %w", l.Template, err)
		}
	}
	return fs.kernel.commit(parent)
}

// destroyTree deletes a subvolume that is no old root, with the subvolumes in it, deepest first. The caller names it by an id
// that it has just read, and commits. Errors: ErrProtected for one that is mounted, is the default one, or holds such a one.
func (fs *Filesystem) destroyTree(id SubvolumeID) error {
	t, err := fs.unprotected(id)
	if err != nil {
		return err
	}
	d := &deletion{Filesystem: fs, tree: t}
	for _, inner := range append(t.below(id), id) {
		if err := d.destroy(inner); err != nil {
			return err
		}
	}
	return nil
}

// unprotected says whether destroyTree may delete a subvolume, and gives all that there are.
func (fs *Filesystem) unprotected(id SubvolumeID) (*tree, error) {
	t, err := fs.subvolumes()
	if err != nil {
		return nil, err
	}
	watch, err := fs.watchMounts()
	if err != nil {
		return nil, err
	}
	defer watch.close()
	fallback, err := fs.DefaultSubvolume()
	if err != nil {
		return nil, err
	}
	for _, inner := range append(t.below(id), id) {
		mounted, err := watch.mounted()
		if err != nil {
			return nil, err
		}
		switch name := t.byID[inner].Name; {
		case mounted[inner]:
			return nil, &ProtectedError{inner, name, []ProtectReason{ProtectInUse}}
		case inner == fallback:
			return nil, &ProtectedError{inner, name, []ProtectReason{ProtectDefault}}
		}
	}
	return t, nil
}
