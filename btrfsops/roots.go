package btrfsops

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// Kind says what a subvolume below old_roots is.
type Kind string

// The kinds.
const (
	KindOld       Kind = "old"       // a former root
	KindSnapshot  Kind = "snapshot"  // a copy of the running root, made on request
	KindDiscarded Kind = "discarded" // staged or unfinished, never used: nothing to lose, deleted first
)

// OldRoot is an old root or a snapshot: a subvolume directly below old_roots.
type OldRoot struct {
	ID         SubvolumeID
	Name       string // as it stands in old_roots; any bytes but "/" and NUL where another tool made it
	Path       string // relative to the top level
	UUID       string
	Kind       Kind
	Label      string
	BootID     string    // the boot that it was the root of; "" when not known
	Created    time.Time // UTC
	RolledOver time.Time // UTC: when it stopped being the root, or when the snapshot was taken
	ReadOnly   bool
	Pinned     bool
	Recorded   bool   // see MarkRecorded
	Deleting   bool   // its deletion was begun and not finished
	HeldRoot   string // path of another root that was moved into it by accident, as shell scripts do when a name comes twice; "": none
	Nested     int    // subvolumes in it, at any depth
	ChangedIn  uint64 // the transaction that changed it last
}

// ListRoots returns the old roots and snapshots of a layout, oldest first. What lies in old_roots and is no subvolume is
// not listed, and never touched; nor is the snapshot of a comparison that is under way. A missing old_roots is an empty
// list.
//
// It costs one search for all subvolumes and one small one for each root, whatever they hold.
func (fs *Filesystem) ListRoots(l Layout) ([]OldRoot, error) {
	roots, _, err := fs.listRoots(l)
	return roots, err
}

// listRoots also returns the tree that the list was made from.
func (fs *Filesystem) listRoots(l Layout) ([]OldRoot, *tree, error) {
	if err := l.Check(); err != nil {
		return nil, nil, err
	}
	t, err := fs.subvolumes()
	if err != nil {
		return nil, nil, err
	}
	where, err := fs.oldRootsDirectory(l)
	if errors.Is(err, unix.ENOENT) {
		return nil, t, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var roots []OldRoot
	for _, s := range t.in(where) {
		searched, err := fs.searched(l, s.Name)
		if err != nil {
			return nil, nil, err
		}
		if searched {
			continue
		}
		root, err := fs.oldRoot(l, t, s)
		if errors.Is(err, unix.ENOENT) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		roots = append(roots, root)
	}
	sort.Slice(roots, func(i, j int) bool {
		return cmp.Or(roots[i].RolledOver.Compare(roots[j].RolledOver), cmp.Compare(roots[i].ID, roots[j].ID)) < 0
	})
	return roots, t, nil
}

// oldRootsDirectory identifies the directory that holds the old roots.
func (fs *Filesystem) oldRootsDirectory(l Layout) (directory, error) {
	dir, err := fs.openOldRoots(l, false)
	if err != nil {
		return directory{}, err
	}
	defer func() { _ = dir.Close() }()
	return identifyDirectory(dir)
}

func identifyDirectory(dir *os.File) (directory, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return directory{}, wrap("stat", dir.Name(), err)
	}
	info, err := subvolumeInfo(dir)
	return directory{subvolume: info.ID, inode: st.Ino}, err
}

// oldRoot describes one subvolume of old_roots.
func (fs *Filesystem) oldRoot(l Layout, t *tree, s Subvolume) (OldRoot, error) {
	a, err := fs.attributesOf(s.ID)
	if err != nil {
		return OldRoot{}, err
	}
	root := OldRoot{
		ID: s.ID, Name: s.Name, Path: path.Join(l.OldRoots, s.Name), UUID: s.UUID,
		Kind: Kind(a[attrKind]), Label: a[attrLabel], BootID: a[attrBootID],
		Created: s.Created, ReadOnly: s.ReadOnly,
		Pinned: a[attrPinned] != "", Recorded: a[attrRecorded] != "", Deleting: a[attrDeleting] != "",
		Nested: len(t.below(s.ID)), ChangedIn: s.ChangedIn,
	}
	root.RolledOver = firstTime(a.time(attrRolledOver), parseRootName(s.Name), s.Created)
	switch root.Kind {
	case KindOld, KindSnapshot, KindDiscarded:
	default:
		root.Kind = KindOld // another tool made it
	}
	if IsUnfinished(s.Name) {
		root.Kind = KindDiscarded
	}
	for _, child := range t.in(directory{s.ID, firstFreeID}) {
		if child.Name == path.Base(l.Root) {
			root.HeldRoot = path.Join(root.Path, child.Name)
		}
	}
	return root, nil
}

// firstTime is the first that is set.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// openRoot opens the old root with an id. Errors: ErrNoSuchRoot.
func (fs *Filesystem) openRoot(l Layout, id SubvolumeID) (*os.File, error) {
	info, err := fs.backref(id)
	if err != nil {
		return nil, err
	}
	where, err := fs.oldRootsDirectory(l)
	if err != nil || info.ParentID != where.subvolume || info.DirID != where.inode {
		return nil, fmt.Errorf("%w: subvolume %d is not directly below %q", ErrNoSuchRoot, id, l.OldRoots)
	}
	f, err := openSubvolume(fs.top, path.Join(l.OldRoots, info.Name))
	if err != nil {
		return nil, err
	}
	if now, err := subvolumeInfo(f); err != nil || now.ID != id {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %q was replaced (%w)", ErrNoSuchRoot, info.Name, ErrStateChanged)
	}
	return f, nil
}

// OpenSubvolume opens the directory of a subvolume by its path relative to the top level, for reading. Errors: ErrNotSubvolume,
// fs.ErrNotExist.
func (fs *Filesystem) OpenSubvolume(p string) (*os.File, error) { return openSubvolume(fs.top, p) }

// backref asks where one subvolume stands. Errors: ErrNoSuchRoot when it stands nowhere.
func (fs *Filesystem) backref(id SubvolumeID) (Subvolume, error) {
	s, found, err := fs.one(id, keyRootBackref)
	if err != nil {
		return Subvolume{}, err
	}
	if !found {
		return Subvolume{}, fmt.Errorf("%w: subvolume %d", ErrNoSuchRoot, id)
	}
	return s, nil
}

// SetPinned pins or unpins an old root; a pinned one is never deleted. Errors: ErrNoSuchRoot, ErrBusy.
func (fs *Filesystem) SetPinned(l Layout, id SubvolumeID, pinned bool) error {
	value := ""
	if pinned {
		value = "1"
	}
	return fs.annotate(l, id, pair{attrPinned, value})
}

// SetLabel gives an old root a label, or takes it away with "". Errors: ErrNoSuchRoot, ErrInvalidName, ErrBusy.
func (fs *Filesystem) SetLabel(l Layout, id SubvolumeID, label string) error {
	if err := checkLabel(label); err != nil {
		return err
	}
	return fs.annotate(l, id, pair{attrLabel, label})
}

// annotate sets an attribute of an old root durably.
func (fs *Filesystem) annotate(l Layout, id SubvolumeID, p pair) error {
	unlock, err := fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	f, err := fs.openRoot(l, id)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	err = fs.kernel.writable(f, func() error { return fs.kernel.setAttributes(f, id, p) })
	if err != nil {
		return err
	}
	return fs.kernel.commit(f)
}
