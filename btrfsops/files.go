package btrfsops

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// file compares a file of the root at each of its names; twin is what it was in the base, when it was there.
func (w *worker) file(n, twin inode, found bool) error {
	f := &comparedFile{worker: w, inode: n, twin: twin, found: found, kept: make([]bool, len(twin.links))}
	for _, l := range n.links {
		if err := f.at(l); err != nil {
			return err
		}
	}
	if err := f.findLost(); err != nil {
		return err
	}
	return f.move()
}

// comparedFile is a file of the root that is being compared.
type comparedFile struct {
	*worker
	inode
	twin         inode
	found        bool
	kept         []bool // links of the twin that the file still has
	gained, lost []string
	listed       bool // one of its names was told with its size
	known        bool // aspects, of the twin, are known
	aspects      Aspects
}

// at compares the file at one of its names.
func (f *comparedFile) at(l link) error {
	up, err := f.root.place(l.dir)
	if err != nil {
		return err
	}
	p := join(up.path, l.name)
	if i := slices.Index(f.twin.links, link{up.partner, l.name}); i >= 0 {
		f.kept[i] = true
		return f.against(p, f.twin)
	}
	e, err := f.root.opposite(up, l.name)
	if err != nil {
		return err
	}
	if e.class != classFile {
		f.gained = append(f.gained, p)
		return nil
	}
	before, _, err := f.base.inode(e.target)
	if err != nil {
		return err
	}
	return f.against(p, before)
}

// against tells how the file differs from what the base has at the same path.
func (f *comparedFile) against(p string, before inode) error {
	aspects, err := f.compareWith(before)
	if err != nil {
		return err
	}
	if _, differs := aspects.kindOf(); !differs {
		return nil
	}
	again := f.listed
	f.listed = true
	return f.differ(p, before, f.inode, aspects, again)
}

// compareWith compares the file with one of the base; with its twin, only once.
func (f *comparedFile) compareWith(before inode) (Aspects, error) {
	isTwin := f.found && before.number == f.twin.number
	if isTwin && f.known {
		return f.aspects, nil
	}
	if !isTwin || !f.seenEnough() {
		n, err := f.complete(f.inode)
		if err != nil {
			return 0, err
		}
		f.inode = n
	}
	aspects, err := f.fileAspects(before, f.inode)
	if isTwin {
		f.aspects, f.known = aspects, true
	}
	return aspects, err
}

// seenEnough says whether what a scan has seen of the file tells how it differs from its twin. What it passes over, as it
// was not written since the fork, the twin has too: so where all that was seen is the same as the twin's, there is no more.
func (f *comparedFile) seenEnough() bool {
	if !maps.Equal(f.xattrs, f.twin.xattrs) {
		return false
	}
	return f.size != f.twin.size || !f.hasData() ||
		!f.more && !f.twin.more && slices.EqualFunc(f.extents, f.twin.extents, segment.equal)
}

// findLost finds names that the twin had, and where the root has no file any more.
func (f *comparedFile) findLost() error {
	for i, l := range f.twin.links {
		if f.kept[i] {
			continue
		}
		up, err := f.base.place(l.dir)
		if err != nil {
			return err
		}
		e, err := f.base.opposite(up, l.name)
		if err != nil {
			return err
		}
		if e.class != classFile {
			f.lost = append(f.lost, join(up.path, l.name))
		}
	}
	return nil
}

// move makes renames of names gained and lost, in the order of their bytes, and tells of what is left of either.
func (f *comparedFile) move() error {
	slices.Sort(f.gained)
	slices.Sort(f.lost)
	both := min(len(f.gained), len(f.lost))
	for i, p := range f.gained {
		again := f.listed
		f.listed = true
		if i >= both {
			c := f.change(ChangeAdded, p)
			c.again(again)
			if err := f.emit(c); err != nil {
				return err
			}
			continue
		}
		aspects, err := f.compareWith(f.twin)
		if err != nil {
			return err
		}
		if err := f.renamed(f.lost[i], p, f.twin, f.inode, aspects, again); err != nil {
			return err
		}
	}
	for _, p := range f.lost[both:] {
		c := f.twin.change(ChangeDeleted, p)
		c.Changed = f.ctime // losing a name changes it
		c.again(true)       // it is still there under another
		if err := f.emit(c); err != nil {
			return err
		}
	}
	return nil
}

// metadataAspects says what differs beside the content.
func metadataAspects(before, n inode) (a Aspects) {
	for _, row := range []struct {
		aspect  Aspects
		differs bool
	}{
		{AspectMode, before.mode&0o7777 != n.mode&0o7777},
		{AspectOwner, before.uid != n.uid || before.gid != n.gid},
		{AspectXattrs, !maps.Equal(before.xattrs, n.xattrs)},
		{AspectFlags, before.flags != n.flags},
	} {
		if row.differs {
			a |= row.aspect
		}
	}
	return a
}

// fileAspects says what differs between two that are no directories.
func (w *worker) fileAspects(before, n inode) (Aspects, error) {
	a := metadataAspects(before, n)
	switch {
	case before.mode&unix.S_IFMT != n.mode&unix.S_IFMT:
		return a&^AspectMode | AspectType, nil
	case n.hasData():
		same, err := w.sameContent(before, n)
		if !same {
			a |= AspectContent
		}
		return a, err
	case before.rdev != n.rdev:
		return a | AspectContent, nil
	default:
		return a, nil
	}
}
