package btrfsops

import (
	"bytes"
	"time"
)

// lost tells of what a directory that both have, has lost: it looks where the scan has seen nothing that both have, and
// where the scan has seen most, first, until as many bytes of names are found as are missing. The size of a directory is
// twice that of its names (btrfs_add_link in fs/btrfs/inode.c).
func (w *worker) lost(n, before inode, seen *listing) error {
	holes, missing := []hole{{0, lastIndex}}, lastIndex
	if w.whole {
		seen = nil
	} else {
		holes, missing = seen.unseen(), before.size/2+seen.fresh-n.size/2
	}
	for _, h := range holes {
		if missing == 0 {
			return nil
		}
		found, err := w.lostIn(n, h, seen)
		if err != nil {
			return err
		}
		missing -= found
	}
	return nil
}

// lostIn tells of the names that a directory has lost in a range of their index, and how many bytes they have. Names are
// merged in the order of their index: what both have at the same one since the fork is the same.
func (w *worker) lostIn(n inode, h hole, seen *listing) (size uint64, err error) {
	before := w.base.entries(n.number, h.from, h.to)
	defer before.close()
	var now *entryCursor
	more := seen == nil || seen.many || seen.fresh+seen.shared != n.size/2 // else the root has nothing there
	for {
		if some, err := before.next(); err != nil || !some {
			return size, err
		}
		if more && now == nil {
			now = w.root.entries(n.number, h.from, h.to)
			defer now.close()
		}
		for more && now.at.offset < before.at.offset {
			if more, err = now.next(); err != nil {
				return size, err
			}
		}
		if more && now.at.offset == before.at.offset && bytes.Equal(now.at.data, before.at.data) {
			made, err := entryMadeIn(before.at.data)
			if err != nil {
				return size, err
			}
			if made <= w.fork {
				continue
			}
		}
		e, err := before.entry()
		if err != nil {
			return size, err
		}
		size += uint64(len(e.name))
		if err := w.lostEntry(n.number, e, n.mtime, seen); err != nil {
			return size, err
		}
	}
}

func (w *worker) lostEntry(dir uint64, e entry, when time.Time, seen *listing) error {
	descend, err := w.gone(dir, e, when, seen)
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
	c := w.base.entries(l.dir, l.next, lastIndex)
	defer c.close()
	for {
		more, err := c.next()
		if err != nil || !more {
			return 0, err
		}
		e, err := c.entry()
		if err != nil {
			return 0, err
		}
		l.next = c.at.offset + 1
		descend, err := w.gone(l.dir, e, when, nil)
		if err != nil {
			return 0, err
		}
		if descend {
			return e.target, nil
		}
	}
}

// gone tells of a name of the base whose directory is gone or has lost it, unless the root's own inodes tell of it. It says
// whether it was a directory that has to be walked. A nil seen says nothing of the names that the directory has now.
func (w *worker) gone(dir uint64, e entry, when time.Time, seen *listing) (descend bool, err error) {
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
	if !w.whole { // what the base has, it has had at the fork: so it has what the root has of that time
		made, kept, err := w.root.madeIn(e.target)
		if err != nil || kept && made <= w.fork {
			return false, err
		}
	}
	n, found, err := w.base.inode(e.target)
	if err != nil || !found {
		return false, err
	}
	if w.whole {
		if _, kept, err := w.base.twin(n); err != nil || kept {
			return false, err
		}
	}
	if replaced, err := w.replaced(n, up, e, seen); err != nil || replaced {
		return n.isDirectory(), err
	}
	c := n.change(ChangeDeleted, join(up.path, e.name))
	c.Changed = when
	c.again(!n.isDirectory() && n.links[0] != link{dir, e.name})
	return n.isDirectory(), w.emit(c)
}

// replaced says whether the root has at the same place something that is compared with it.
func (w *worker) replaced(n inode, up place, e entry, seen *listing) (bool, error) {
	if n.isDirectory() {
		p, err := w.base.place(n.number)
		return p.partner != 0, err
	}
	if !seen.mayHave(e.name) {
		return false, nil
	}
	now, err := w.base.opposite(up, e.name)
	return now.class == classFile, err
}
