package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"path"
	"unsafe"
)

// DeleteReport is what a deletion did.
type DeleteReport struct {
	Deleted    []SubvolumeID   // the old roots that are gone
	Subvolumes []SubvolumeID   // all subvolumes that are gone: the old roots and those in them
	Failed     []DeleteFailure // the old roots that are not, or not wholly
}

// DeleteFailure is an old root that was not deleted.
type DeleteFailure struct {
	ID   SubvolumeID
	Name string
	Err  error
}

// Delete deletes old roots and snapshots, each with the subvolumes in it, deepest first, and commits. It goes on after a
// failure, and reports both. progress, which may be nil, is told of subvolumes done, of how many.
//
// What may be deleted is judged when the deletion begins, and again for each tree at the moment at which its turn comes:
// it must be a subvolume directly below old_roots, by id, with no reason to protect it or anything in it; and each
// subvolume in it must still be there when its own turn comes. Paths play no part. A tree of several subvolumes is marked
// first, so that one whose deletion was cut short is known for what it is; on a disk that has no space for that, it is not.
//
// The error is that of the whole: ErrBusy, or of a file system that can't be read; a canceled context ends the deletion
// between two subvolumes.
func (fs *Filesystem) Delete(ctx context.Context, g Guards, ids []SubvolumeID, progress func(done, total int)) (DeleteReport, error) {
	unlock, err := fs.lock()
	if err != nil {
		return DeleteReport{}, err
	}
	defer unlock()
	d, err := fs.planDeletion(g, ids, progress)
	if err != nil {
		return DeleteReport{}, err
	}
	defer d.close()
	err = d.run(ctx)
	if len(d.report.Subvolumes) > 0 {
		err = errors.Join(err, d.commit())
	}
	return d.report, err
}

func (d *deletion) close() {
	d.watch.close()
	d.wish.close()
}

// commit makes the deletions durable.
func (d *deletion) commit() error {
	oldRoots, err := d.openOldRoots(d.guards.Layout, false)
	if err != nil {
		return err
	}
	defer func() { _ = oldRoots.Close() }()
	return d.kernel.commit(oldRoots)
}

// deletion is one under way.
type deletion struct {
	*Filesystem
	guards      Guards
	roots       []OldRoot // all there are: who is newest depends on them
	trees       []doomed
	tree        *tree
	watch       *mountWatch
	wish        *nextWatch
	report      DeleteReport
	done, total int
	progress    func(done, total int)
}

// doomed is one tree to delete.
type doomed struct {
	root  OldRoot
	below []SubvolumeID // deepest first
}

func (fs *Filesystem) planDeletion(g Guards, ids []SubvolumeID, progress func(int, int)) (*deletion, error) {
	roots, t, err := fs.listRoots(g.Layout)
	if err != nil {
		return nil, err
	}
	watch, err := fs.watchMounts()
	if err != nil {
		return nil, err
	}
	wish, err := fs.watchNext(g.Layout)
	if err != nil {
		watch.close()
		return nil, err
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	d := &deletion{Filesystem: fs, guards: g, roots: roots, tree: t, watch: watch, wish: wish, progress: progress}
	byID := map[SubvolumeID]OldRoot{}
	for _, root := range roots {
		byID[root.ID] = root
	}
	for _, id := range ids {
		root, found := byID[id]
		if !found {
			d.fail(OldRoot{ID: id}, fmt.Errorf("%w: subvolume %d is not directly below %q", ErrNoSuchRoot, id, g.Layout.OldRoots))
			continue
		}
		d.trees = append(d.trees, doomed{root, t.below(id)})
		d.total += 1 + len(t.below(id))
	}
	return d, nil
}

func (d *deletion) fail(root OldRoot, err error) {
	d.report.Failed = append(d.report.Failed, DeleteFailure{root.ID, root.Name, err})
}

func (d *deletion) run(ctx context.Context) error {
	facts, err := d.gather(d.guards, d.roots, d.tree, d.watch)
	if err != nil {
		return err
	}
	for _, tree := range d.trees {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := d.deleteTree(ctx, facts, tree)
		switch {
		case err == nil:
			d.report.Deleted = append(d.report.Deleted, tree.root.ID)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			d.fail(tree.root, err)
		}
	}
	return nil
}

// deleteTree deletes one old root with what is in it.
func (d *deletion) deleteTree(ctx context.Context, before facts, tree doomed) error {
	if err := d.judge(before, tree.root); err != nil {
		return err
	}
	if len(tree.below) > 0 && !tree.root.Deleting {
		// The kernel keeps some space for deleting, which an attribute gets none of. Rather half of a root that does not say so than a disk
		// that stays full.
		if err := d.markDeleting(tree.root.ID); err != nil && !errors.Is(err, ErrNoSpace) {
			return err
		}
	}
	for i, id := range append(tree.below, tree.root.ID) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 || id != tree.root.ID { // else judge has just looked
			if err := d.judgeAgain(id, tree.root); err != nil {
				return err
			}
		}
		if err := d.destroy(id); err != nil {
			return err
		}
		d.report.Subvolumes = append(d.report.Subvolumes, id)
		d.done++
		d.progress(d.done, d.total)
	}
	return nil
}

// markDeleting says on an old root that its deletion has begun.
func (d *deletion) markDeleting(id SubvolumeID) error {
	f, err := d.openRoot(d.guards.Layout, id)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return d.makingRoom(func() error {
		// Writable from here on: nothing can be deleted out of a read-only subvolume.
		if err := d.kernel.setReadOnly(f, false); err != nil {
			return err
		}
		return d.kernel.setAttributes(f, id, pair{attrDeleting, "1"})
	})
}

// maxSpaceTries bounds how often what found no space is tried again.
const maxSpaceTries = 3

// makingRoom does what takes space for metadata: when there is none, a commit lets go of what earlier deletions freed.
func (d *deletion) makingRoom(do func() error) error {
	var err error
	for range maxSpaceTries {
		if err = do(); !errors.Is(err, ErrNoSpace) {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
	}
	return err
}

// destroy deletes one subvolume. A read-only parent is made writable, since it is about to be deleted as well.
func (d *deletion) destroy(id SubvolumeID) error {
	return d.makingRoom(func() error {
		if parent := d.tree.byID[id].ParentID; d.tree.byID[parent].ReadOnly {
			if err := d.makeWritable(parent); err != nil {
				return err
			}
		}
		return d.kernel.destroySubvolume(d.top, id)
	})
}

// makeWritable clears the read-only flag of a subvolume inside a doomed tree.
func (d *deletion) makeWritable(id SubvolumeID) error {
	p, err := d.pathOf(d.tree, id)
	if err != nil {
		return err
	}
	f, err := openSubvolume(d.top, p)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := subvolumeInfo(f)
	if err != nil {
		return err
	}
	if info.ID != id {
		return fmt.Errorf("%w: %q is subvolume %d, not %d", ErrStateChanged, p, info.ID, id)
	}
	return d.kernel.setReadOnly(f, false)
}

// pathOf returns where a subvolume stands, relative to the top level.
func (fs *Filesystem) pathOf(t *tree, id SubvolumeID) (string, error) {
	p := ""
	for steps := 0; id != TopLevelID; steps++ {
		s, found := t.byID[id]
		if !found || steps > len(t.byID) {
			return "", fmt.Errorf("%w: subvolume %d", ErrNoSuchRoot, id)
		}
		args := inoLookupArgs{Treeid: uint64(s.ParentID), Objectid: s.DirID}
		if err := ioctl(int(fs.top.Fd()), iocInoLookup, unsafe.Pointer(&args)); err != nil {
			return "", wrap("find the path of subvolume", fmt.Sprint(id), err)
		}
		p = path.Join(cString(args.Name[:]), s.Name, p)
		id = s.ParentID
	}
	return p, nil
}
