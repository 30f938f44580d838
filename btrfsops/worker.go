package btrfsops

import (
	"context"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// worker compares one range of inodes after the other. What it finds about an inode does not depend on who looks at the
// others, so each difference is found once, whatever the ranges are:
//
//   - a file that the root has: by its own inode, at each of its names, and at those it has lost;
//   - a directory that the root has: by its own inode;
//   - what only the base has: by the directory that has lost it or what held it, and that both have;
//   - a nested subvolume that the root has: by the directory that holds it.
type worker struct {
	*scan
	ctx    context.Context
	base   *side
	root   *side
	emit   func(Change) error
	buffer []byte // for reading two files
}

func newWorker(ctx context.Context, s *scan, emit func(Change) error) *worker {
	w := &worker{scan: s, ctx: ctx, emit: emit, base: &side{view: s.base, fork: s.fork}, root: &side{view: s.root, fork: s.fork}}
	w.base.other, w.root.other = w.root, w.base
	return w
}

// run takes ranges until there are none.
func (w *worker) run() error {
	for {
		from, to, more := w.take()
		if !more {
			return nil
		}
		var err error
		if w.whole && w.base.view != nil {
			err = w.everything(from, to)
		} else {
			err = w.changed(from, to)
		}
		if err != nil {
			return err
		}
	}
}

// changed looks at what has changed since the fork, where only the root has changed.
func (w *worker) changed(from, to uint64) error {
	c, err := w.scan.root.inodes(from, to, w.fork)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		t, more, err := c.next()
		if err == nil {
			err = w.ctx.Err()
		}
		if err != nil || !more {
			return err
		}
		if t.transid < w.fork {
			continue
		}
		if err := w.look(t); err != nil {
			return err
		}
	}
}

// everything looks at what differs between two subvolumes that have both changed since the fork, if there ever was one.
func (w *worker) everything(from, to uint64) error {
	c, err := w.scan.root.inodes(from, to, 0)
	if err != nil {
		return err
	}
	defer c.close()
	c.since = w.fork
	b, err := w.scan.base.inodes(from, to, 0)
	if err != nil {
		return err
	}
	defer b.close()
	b.since = ^uint64(0)
	before, left, err := b.next()
	for err == nil {
		var t touched
		var more bool
		if t, more, err = c.next(); err != nil || !more {
			return err
		}
		for left && before.number < t.number && err == nil {
			before, left, err = b.next()
		}
		unchanged := left && before.same(t.inode) && t.transid < w.fork && before.transid < w.fork
		if err == nil && !unchanged {
			err = w.look(t)
		}
		if err == nil {
			err = w.ctx.Err()
		}
	}
	return err
}

// look compares one inode of the root.
func (w *worker) look(t touched) error {
	n := t.inode
	twin, found, err := w.root.twin(n)
	if err != nil {
		return err
	}
	if len(n.links) != int(n.nlink) {
		if n, err = w.complete(n); err != nil || n.nlink == 0 {
			return err
		}
	}
	switch {
	case n.number == firstFreeID:
		err = w.top(n, found, &t.names)
	case n.isDirectory() && found:
		err = w.keptDirectory(n, twin, &t.names)
	case n.isDirectory():
		err = w.newDirectory(n)
	default:
		err = w.file(n, twin, found)
	}
	for _, e := range t.nested {
		if err == nil {
			err = w.nested(n.number, e)
		}
	}
	return err
}

// complete reads what a scan leaves out of an inode.
func (w *worker) complete(n inode) (inode, error) {
	if n.whole {
		return n, nil
	}
	n, _, err := w.root.inode(n.number)
	return n, err
}

// top compares the directories of the subvolumes themselves. The attributes that we keep there are no difference.
func (w *worker) top(n inode, twin bool, seen *listing) error {
	before := inode{mode: unix.S_IFDIR | 0o755} // of the empty subvolume, as rollover makes it
	if w.base.view != nil {
		var err error
		if before, _, err = w.base.inode(firstFreeID); err != nil {
			return err
		}
	}
	n, err := w.complete(n)
	if err != nil {
		return err
	}
	ours := func(name, _ string) bool { return strings.HasPrefix(name, attributePrefix) }
	maps.DeleteFunc(n.xattrs, ours)
	maps.DeleteFunc(before.xattrs, ours)
	if err := w.differ(".", before, n, metadataAspects(before, n), false); err != nil {
		return err
	}
	switch {
	case w.base.view == nil:
		return nil
	case twin:
		return w.lost(n, before, seen)
	default:
		return w.walk(firstFreeID, n.mtime)
	}
}

// keptDirectory compares a directory that both have, wherever it is.
func (w *worker) keptDirectory(n, before inode, seen *listing) error {
	if !maps.Equal(n.xattrs, before.xattrs) { // it may have more than were seen, those that it has always had
		var err error
		if n, err = w.complete(n); err != nil {
			return err
		}
	}
	up, err := w.root.place(n.links[0].dir)
	if err != nil {
		return err
	}
	p := join(up.path, n.links[0].name)
	aspects := metadataAspects(before, n)
	if slices.Contains(before.links, link{up.partner, n.links[0].name}) {
		err = w.differ(p, before, n, aspects, false)
	} else {
		err = w.moved(p, before, n, aspects)
	}
	if err != nil {
		return err
	}
	return w.lost(n, before, seen)
}

// newDirectory is about a directory that only the root has; it may stand in the place of one that was deleted.
func (w *worker) newDirectory(n inode) error {
	p, err := w.root.place(n.number)
	if err != nil {
		return err
	}
	if p.partner == 0 {
		return w.emit(n.change(ChangeAdded, p.path))
	}
	before, _, err := w.base.inode(p.partner)
	if err != nil {
		return err
	}
	if n, err = w.complete(n); err != nil {
		return err
	}
	return w.differ(p.path, before, n, metadataAspects(before, n), false)
}

// nested is about a subvolume in a directory of the root.
func (w *worker) nested(dir uint64, e entry) error {
	up, err := w.root.place(dir)
	if err != nil {
		return err
	}
	before, err := w.root.opposite(up, e.name)
	if err != nil || before.class == e.class && before.target == e.target {
		return err
	}
	c := Change{Kind: ChangeAdded, Path: join(up.path, e.name), Type: TypeSubvolume, Subvolume: SubvolumeID(e.target)}
	if before.class == classSubvolume {
		c.Kind, c.Aspects, c.Before = ChangeModified, AspectContent, &Before{Type: TypeSubvolume}
	}
	c.Size, err = (&view{top: w.root.top, id: c.Subvolume}).dataSize()
	if err != nil {
		return err
	}
	return w.emit(c)
}

// differ tells of a path that both have, if anything differs.
func (w *worker) differ(p string, before, n inode, aspects Aspects, again bool) error {
	kind, differs := aspects.kindOf()
	if !differs {
		return nil
	}
	c := n.change(kind, p)
	c.Aspects, c.Before = aspects, before.before()
	c.again(again)
	return w.emit(c)
}

// moved tells of a directory that both have at different places.
func (w *worker) moved(p string, before, n inode, aspects Aspects) error {
	from, err := w.base.place(before.number)
	if err != nil {
		return err
	}
	return w.renamed(from.path, p, before, n, aspects, false)
}

// renamed tells of an inode that both have at different places.
func (w *worker) renamed(from, p string, before, n inode, aspects Aspects, again bool) error {
	c := n.change(ChangeRenamed, p)
	c.From, c.Aspects, c.Before = from, aspects, before.before()
	c.again(again)
	return w.emit(c)
}
