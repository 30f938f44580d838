package btrfsops

import "time"

// lost tells of what a directory that both have, has lost. Its names are merged in the order of their index: what both
// have at the same one since the fork is the same. when is the time of the loss.
func (w *worker) lost(dir uint64, when time.Time) error {
	before := w.base.entries(dir, 0)
	defer before.close()
	now := w.root.entries(dir, 0)
	defer now.close()
	var e entry
	more := true
	for {
		b, some, err := before.next()
		if err != nil || !some {
			return err
		}
		for more && now.index < before.index {
			if e, more, err = now.next(); err != nil {
				return err
			}
		}
		if more && now.index == before.index && e == b && b.made <= w.fork {
			continue
		}
		if err := w.lostEntry(dir, b, when); err != nil {
			return err
		}
	}
}

func (w *worker) lostEntry(dir uint64, e entry, when time.Time) error {
	descend, err := w.gone(dir, e, when)
	if err != nil || !descend {
		return err
	}
	return w.walk(e.target, when)
}

// level is a directory of the base that is being walked: names with an index below next are done.
type level struct {
	dir, next uint64
}

// walk tells of what a directory that only the base has, held. It keeps one number for each level of the tree, whatever
// the directories hold.
func (w *worker) walk(dir uint64, when time.Time) error {
	levels := []level{{dir: dir}}
	for len(levels) > 0 {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		below, err := w.step(&levels[len(levels)-1], when)
		switch {
		case err != nil:
			return err
		case below == 0:
			levels = levels[:len(levels)-1]
		default:
			levels = append(levels, level{dir: below})
		}
	}
	return nil
}

// step goes on in a directory until it meets another to walk first, and returns that one; 0 at the end.
func (w *worker) step(l *level, when time.Time) (below uint64, err error) {
	c := w.base.entries(l.dir, l.next)
	defer c.close()
	for {
		e, more, err := c.next()
		if err != nil || !more {
			return 0, err
		}
		l.next = c.index + 1
		descend, err := w.gone(l.dir, e, when)
		if err != nil {
			return 0, err
		}
		if descend {
			return e.target, nil
		}
	}
}

// gone tells of a name of the base whose directory is gone or has lost it, unless the root's own inodes tell of it. It says
// whether it was a directory that has to be walked.
func (w *worker) gone(dir uint64, e entry, when time.Time) (descend bool, err error) {
	up, err := w.base.place(dir)
	if err != nil {
		return false, err
	}
	if e.class == classSubvolume {
		now, err := w.base.opposite(up, e.name)
		if err != nil || now.class == classSubvolume {
			return false, err
		}
		return false, w.emit(Change{
			Kind: ChangeDeleted, Path: join(up.path, e.name), Type: TypeSubvolume, Subvolume: SubvolumeID(e.target), Changed: when,
		})
	}
	n, found, err := w.base.inode(e.target)
	if err != nil || !found {
		return false, err
	}
	if _, kept, err := w.base.twin(n); err != nil || kept {
		return false, err
	}
	if replaced, err := w.replaced(n, up, e); err != nil || replaced {
		return n.isDirectory(), err
	}
	c := n.change(ChangeDeleted, join(up.path, e.name))
	c.Changed = when
	c.again(!n.isDirectory() && n.links[0] != link{dir, e.name})
	return n.isDirectory(), w.emit(c)
}

// replaced says whether the root has at the same place something that is compared with it.
func (w *worker) replaced(n inode, up place, e entry) (bool, error) {
	if n.isDirectory() {
		p, err := w.base.place(n.number)
		return p.partner != 0, err
	}
	now, err := w.base.opposite(up, e.name)
	return now.class == classFile, err
}
