package btrfsops

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// Comparison says what to compare. Paths are relative to the top level.
type Comparison struct {
	Layout  Layout
	Base    string // a subvolume; "": the empty one, which fresh roots without a template are
	Root    string // a subvolume; "": the root
	Workers int    // 0: four
}

// Compare calls each for every difference between a root and its base, one at a time, in no order that means anything.
// It costs what has changed since both were the same subvolume, not what they hold: of 300,000 files a hundred changed
// ones are found in milliseconds. Subvolumes that have no common ancestor, or of which the base has changed since,
// are read whole. Memory is bounded, whatever differs.
//
// A file is the same as in the base when it is the same inode, or stands at the same place; so what is replaced by renaming
// is changed, and what is moved, renamed. Content is read where the extents don't tell: data that was written again as it
// was is no change. Times alone are none.
//
// What can be written to is looked at through a read-only snapshot, which is consistent and has what programs have written
// so far. It stands in old_roots meanwhile, is left out by ListRoots, and goes with the call; a crash leaves it behind as
// discarded. Where none can be made (no room, a swap file in use), the subvolume itself is searched.
//
// An error of each ends the comparison and is returned. Errors: ErrNoRoot, ErrNoSuchRoot, ErrNotSubvolume, ErrStateChanged.
func (fs *Filesystem) Compare(ctx context.Context, c Comparison, each func(Change) error) (err error) {
	root, err := fs.openSubject(c.Layout, c.Root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.close()) }()
	if c.Base == "" {
		return fs.compare(ctx, c, nil, root, each)
	}
	base, err := fs.openSubject(c.Layout, c.Base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.close()) }()
	return fs.compare(ctx, c, base, root, each)
}

// compare compares what is open; a nil base is the empty subvolume.
func (fs *Filesystem) compare(ctx context.Context, c Comparison, base, root *subject, each func(Change) error) error {
	s, err := fs.planScan(base, root)
	if err != nil {
		return err
	}
	workers := c.Workers
	if workers == 0 {
		workers = 4 // of more than there are processors, some wait for the disk
	}
	group, ctx := errgroup.WithContext(ctx)
	emit := serialize(ctx, each)
	for range workers {
		group.Go(func() error {
			return newWorker(ctx, s, emit).run()
		})
	}
	return group.Wait()
}

// planScan finds out what has to be looked at.
func (fs *Filesystem) planScan(base, root *subject) (*scan, error) {
	s := &scan{root: &view{fs.top, root.dir, root.info.ID}}
	if base != nil {
		s.base = &view{fs.top, base.dir, base.info.ID}
		f, err := fs.forkOf(base.info, root.info)
		if err != nil {
			return nil, err
		}
		s.fork, s.whole = f.transid, !f.still
	}
	highest, err := s.root.highest()
	s.highest = highest
	return s, err
}
