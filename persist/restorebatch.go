package persist

import (
	"errors"
	"fmt"
	"maps"
	"path"

	"golang.org/x/sys/unix"
)

// batch is names of one directory that are brought back together: staged, made durable at once, and renamed. Hard links
// among them are kept.
type batch struct {
	from, into     int // directories
	source, target string
	pairs          []pair
}

// pair is a name in the old root, and what it is called where it is restored to.
type pair struct{ name, as string }

// maxBatch bounds what is staged at a time, and with it what a crash leaves behind.
const maxBatch = 1000

// stagedCopy is a copy that is complete and not yet in its place.
type stagedCopy struct {
	pair
	result RestoreResult
	there  Object // what is in its place
}

// batch brings back names of one directory, then goes into the directories that both roots have.
func (x *restorer) batch(b batch) error {
	c := newCopier(x.k.until(x.ctx), b.into)
	c.each = x.count
	var ready []stagedCopy
	var both []pair
	for _, p := range b.pairs {
		s := stagedCopy{pair: p, result: RestoreResult{Source: path.Join(b.source, p.name), Target: path.Join(b.target, p.as)}}
		merge, err := x.decide(b, c, &s)
		switch {
		case err != nil:
			x.fail(s.result.Source, s.result.Target, err)
		case merge:
			both = append(both, p)
		case s.result.Action == Same || x.what.DryRun:
			x.done(s.result)
		default:
			ready = append(ready, s)
		}
		if x.ctx.Err() != nil {
			return x.drop(b, ready)
		}
		if len(ready) == maxBatch {
			if err := x.finish(b, c, ready); err != nil {
				return err
			}
			ready = nil
			c.links = map[InodeID]string{} // they have other names by now
		}
	}
	if err := x.finish(b, c, ready); err != nil {
		return err
	}
	for _, p := range both {
		source, target := path.Join(b.source, p.name), path.Join(b.target, p.as)
		if err := x.merge(b.from, p.name, b.into, p.as, source, target); err != nil {
			x.fail(source, target, err)
		}
		if x.ctx.Err() != nil {
			return x.ctx.Err()
		}
	}
	return nil
}

// decide looks at both sides of a name and stages what is to be put in its place. merge: both are directories.
func (x *restorer) decide(b batch, c *copier, s *stagedCopy) (merge bool, err error) {
	old, err := x.k.stat(b.from, s.name)
	if err != nil {
		return false, err
	}
	have, err := x.k.stat(b.into, s.as)
	s.result.Action = Restored
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return false, err
	case objectOf(old).Kind == IsDirectory && objectOf(have).Kind == IsDirectory:
		return true, nil
	default:
		s.there = objectOf(have)
		same, err := c.same(b.from, s.name, old, b.into, s.as, have)
		if err != nil {
			return false, err
		}
		s.result.Action = Replaced
		if same {
			s.result.Action = Same
		}
		if !same && have.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
			return false, fmt.Errorf("%s: %w", s.as, ErrMountPoint)
		}
	}
	if s.result.Action == Same || x.what.DryRun {
		return false, x.measure(b.from, s.name, &s.result)
	}
	return false, x.stage(b, c, s)
}

// same tells whether a name is what it is in the old root: kind, owner, mode, attributes and content; its time makes no
// difference. Files of the same size are read: many have the same time, too, as reproducible builds and the Nix store set it.
func (c *copier) same(from int, name string, old unix.Statx_t, into int, as string, have unix.Statx_t) (bool, error) {
	if old.Mode != have.Mode || old.Uid != have.Uid || old.Gid != have.Gid ||
		old.Rdev_major != have.Rdev_major || old.Rdev_minor != have.Rdev_minor {
		return false, nil
	}
	same, err := true, error(nil)
	switch old.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		same, err = c.k.sameLink(from, name, into, as)
	case unix.S_IFREG:
		same = old.Size == have.Size
		if same && old.Size > 0 {
			same, err = c.k.sameContent(from, name, into, as)
		}
	}
	if err != nil || !same {
		return false, err
	}
	return c.sameAttributes(from, name, into, as)
}

// stage copies a name beside its place.
func (x *restorer) stage(b batch, c *copier, s *stagedCopy) error {
	staged := stagedName(s.as)
	if err := x.k.removeTree(b.into, staged); err != nil {
		return err
	}
	entries, bytes := c.count, c.bytes
	if err := c.copy(b.from, s.name, b.into, staged, staged); err != nil {
		maps.DeleteFunc(c.links, func(_ InodeID, at string) bool { return Within(at, staged) })
		return errors.Join(err, x.k.removeTree(b.into, staged))
	}
	s.result.Entries, s.result.Bytes = uint64(c.count-entries), c.bytes-bytes
	return nil
}

// finish makes what is staged durable, puts it in its place, and makes that durable.
func (x *restorer) finish(b batch, c *copier, ready []stagedCopy) error {
	if len(ready) == 0 {
		return nil
	}
	if err := c.sync(b.into, stagedName(ready[0].as)); err != nil {
		return errors.Join(err, x.drop(b, ready))
	}
	for i := range ready {
		s := &ready[i]
		if err := x.put(b, s); err != nil {
			x.fail(s.result.Source, s.result.Target, errors.Join(err, x.k.removeTree(b.into, stagedName(s.as))))
			continue
		}
		x.done(s.result)
	}
	return x.k.syncDir(b.into, b.target)
}

// drop removes what is staged, when it is not wanted any more.
func (x *restorer) drop(b batch, ready []stagedCopy) error {
	err := x.ctx.Err()
	for _, s := range ready {
		err = errors.Join(err, x.k.removeTree(b.into, stagedName(s.as)))
	}
	return err
}

// put renames a staged copy to its place. What stands there is kept aside.
func (x *restorer) put(b batch, s *stagedCopy) error {
	staged := stagedName(s.as)
	if s.result.Action == Restored {
		err := x.k.rename(b.into, staged, b.into, s.as, unix.RENAME_NOREPLACE)
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s appears while it is restored: %w", s.as, ErrBusy)
		}
		return err
	}
	aside, err := x.k.swapAside(b.into, staged, s.as)
	if err != nil {
		return err
	}
	st, err := x.k.stat(b.into, aside)
	if err == nil && (objectOf(st).ID != s.there.ID || objectOf(st).Version != s.there.Version) {
		err = fmt.Errorf("%s changes while it is restored: %w", s.as, ErrBusy)
	}
	if err != nil {
		if back := x.k.rename(b.into, aside, b.into, s.as, unix.RENAME_EXCHANGE); back != nil {
			return errors.Join(err, fmt.Errorf("what stood there is kept as %s: %w", path.Join(b.target, aside), back))
		}
		return errors.Join(err, x.k.rename(b.into, aside, b.into, staged, unix.RENAME_NOREPLACE))
	}
	s.result.Aside = path.Join(b.target, aside)
	return nil
}
