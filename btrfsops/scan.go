package btrfsops

import (
	"context"
	"sync"
	"sync/atomic"
)

// scan is what all workers of a comparison share.
type scan struct {
	base, root *view // a nil base is the empty subvolume
	fork       uint64
	whole      bool   // the base has changed since too: everything is looked at
	highest    uint64 // the root's highest inode number
	taken      atomic.Uint64
}

// chunks is into how many ranges of inode numbers a root is split. What has changed lies unevenly: a worker that is done
// with one takes the next.
const chunks = 64

// take returns the next range that no worker has taken, both ends in it; false when there is none.
func (s *scan) take() (from, to uint64, more bool) {
	n := s.taken.Add(1) - 1
	size := (s.highest-firstFreeID)/chunks + 1
	from = firstFreeID + n*size
	return from, min(from+size-1, s.highest), from <= s.highest
}

// serialize makes each be called by one worker at a time, and never again after it failed.
func serialize(ctx context.Context, each func(Change) error) func(Change) error {
	var mu sync.Mutex
	var failed error
	return func(c Change) error {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = ctx.Err()
		}
		if failed == nil {
			failed = each(c)
		}
		return failed
	}
}

// touched is an inode that may have changed, and as a directory the subvolumes in it, and what was seen of its names.
type touched struct {
	inode
	nested []entry
	names  listing
}

// inodeCursor walks the inodes of a range of numbers.
type inodeCursor struct {
	*cursor
	ahead item
	more  bool
	since uint64 // of inodes that were changed earlier, nothing but the inode itself is read
	all   bool   // nothing of an inode is passed over
}

// inodes stands before the first inode with a number from from to to, of those in parts of the tree that were written in
// transaction since or later.
func (v *view) inodes(from, to, since uint64) (*inodeCursor, error) {
	key := searchKey{
		TreeID: uint64(v.id), MinObjectid: from, MaxObjectid: to, MinType: keyInodeItem, MaxType: keyExtentData, MinTransid: since,
	}
	c := &inodeCursor{cursor: newCursor(v.top, key), since: since, all: since == 0}
	c.size = scanBufferSize
	return c, c.step()
}

func (c *inodeCursor) step() (err error) {
	c.ahead, c.more, err = c.cursor.next()
	return err
}

// next returns the next inode; false after the last one.
func (c *inodeCursor) next() (t touched, more bool, err error) {
	for c.more {
		t = touched{}
		for number := c.ahead.objectid; c.more && c.ahead.objectid == number; {
			if err := c.add(&t, c.ahead); err != nil {
				return t, false, err
			}
			if err := c.pastUseless(&t, number); err != nil {
				return t, false, err
			}
			if err := c.step(); err != nil {
				return t, false, err
			}
		}
		// What is of a new inode was written with it: no part of the tree that holds some of it was passed over.
		t.whole = t.transid >= c.since && (c.all || t.generation > c.since)
		if t.nlink > 0 {
			return t, true, nil
		}
	}
	return t, false, nil
}

// pastUseless passes over what is of no use: all that is of an inode that has not changed, and what a directory has twice.
func (c *inodeCursor) pastUseless(t *touched, number uint64) error {
	switch {
	case t.transid < c.since && !c.all:
		return c.skip(number+1, 0)
	case c.ahead.typ == keyDirItem:
		return c.skip(number, keyDirIndex)
	default:
		return nil
	}
}

// add takes one item in: nothing is copied of an inode that has not changed.
func (c *inodeCursor) add(t *touched, i item) error {
	changed := t.nlink > 0 && t.transid >= c.since
	switch {
	case i.typ == keyInodeItem:
		return t.take(i)
	case i.typ == keyDirIndex:
		if changed && !c.all {
			if err := t.names.see(i, c.since); err != nil {
				return err
			}
		}
		if len(i.data) > 8 && i.data[8] == keyRootItem {
			return decodeEntries(i.data, func(e entry) { t.nested = append(t.nested, e) })
		}
	case changed:
		return t.take(i)
	}
	return nil
}
