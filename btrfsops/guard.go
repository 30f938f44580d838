package btrfsops

import (
	"encoding/binary"
	"fmt"
)

// Guards is what the caller knows that must not be deleted. What the file system itself knows (pins, the default
// subvolume, mounts, the request for the next boot) is looked up each time.
type Guards struct {
	Layout     Layout
	Booted     SubvolumeID // the root that runs, 0 when not known
	Persistent []string    // subvolumes that are configured for anything else, relative to the top level
	Awaited    []RootName  // roots that an entry is still to be taken from, as far as that is known
	Unread     bool        // it is not, so each root is that something was recorded in
}

// GuardedRoot is an old root or snapshot with why it may not be deleted now; no reason: it may.
type GuardedRoot struct {
	OldRoot
	Reasons []ProtectReason
}

// ListGuarded is ListRoots with the reasons against each deletion, from one look at the file system.
func (fs *Filesystem) ListGuarded(g Guards) ([]GuardedRoot, error) {
	roots, t, err := fs.listRoots(g.Layout)
	if err != nil {
		return nil, err
	}
	watch, err := fs.watchMounts()
	if err != nil {
		return nil, err
	}
	defer watch.close()
	facts, err := fs.gather(g, roots, t, watch)
	if err != nil {
		return nil, err
	}
	guarded := make([]GuardedRoot, len(roots))
	for i, root := range roots {
		guarded[i] = GuardedRoot{root, facts.reasons(t, root)}
	}
	return guarded, nil
}

// facts is what the guards are judged by, at one moment.
type facts struct {
	booted, fallback    SubvolumeID // fallback: the default subvolume
	next                string      // name of the old root that the next boot was asked to boot
	newest              map[SubvolumeID]bool
	mounted             map[SubvolumeID]bool
	template, elsewhere []SubvolumeID // elsewhere: persistent volumes and other configured subvolumes, the root
	awaited             []SubvolumeID
	unread              bool
}

func (fs *Filesystem) gather(g Guards, roots []OldRoot, t *tree, watch *mountWatch) (facts, error) {
	f := facts{booted: g.Booted, newest: newest(roots), unread: g.Unread}
	var err error
	if f.mounted, err = watch.mounted(); err != nil {
		return f, err
	}
	if f.fallback, err = fs.DefaultSubvolume(); err != nil {
		return f, err
	}
	if f.next, err = fs.NextBoot(g.Layout); err != nil {
		return f, err
	}
	if g.Layout.Template != "" {
		if f.template, err = fs.addAt(f.template, g.Layout.Template); err != nil {
			return f, err
		}
	}
	for _, name := range g.Awaited {
		if t.byID[name.ID].UUID == name.UUID {
			f.awaited = append(f.awaited, name.ID)
		}
	}
	for _, p := range append([]string{g.Layout.Root, g.Layout.Root + stagedSuffix}, g.Persistent...) {
		if f.elsewhere, err = fs.addAt(f.elsewhere, p); err != nil {
			return f, err
		}
	}
	return f, nil
}

// addAt adds the id of the subvolume at p, relative to the top level, if there is one.
func (fs *Filesystem) addAt(ids []SubvolumeID, p string) ([]SubvolumeID, error) {
	id, found, err := fs.lookup(p)
	if found {
		ids = append(ids, id)
	}
	return ids, err
}

// newest are the former roots that came last: by time, and by id, which a wrong clock does not change.
func newest(roots []OldRoot) map[SubvolumeID]bool {
	var last, highest SubvolumeID
	for _, root := range roots { // oldest first
		if root.Kind == KindOld && !root.Deleting {
			last, highest = root.ID, max(highest, root.ID)
		}
	}
	return map[SubvolumeID]bool{last: last != 0, highest: highest != 0}
}

// reasons is the table of guards: every row protects a whole tree, since what is deleted is a whole tree.
func (f facts) reasons(t *tree, root OldRoot) []ProtectReason {
	holdsAny := func(ids ...SubvolumeID) bool {
		for _, id := range ids {
			if id != 0 && t.holds(root.ID, id) {
				return true
			}
		}
		return false
	}
	holdsMounted := f.mounted[root.ID]
	for id := range f.mounted {
		holdsMounted = holdsMounted || holdsAny(id)
	}
	var reasons []ProtectReason
	for _, guard := range []struct {
		reason ProtectReason
		holds  bool
	}{
		{ProtectBooted, holdsAny(f.booted)},
		{ProtectDefault, holdsAny(f.fallback)},
		{ProtectNext, root.Name == f.next},
		{ProtectPinned, root.Pinned},
		{ProtectInUse, holdsMounted},
		{ProtectNewest, f.newest[root.ID]},
		{ProtectTemplate, holdsAny(f.template...)},
		{ProtectPersistent, holdsAny(f.elsewhere...)},
		{ProtectEntry, holdsAny(f.awaited...) || f.unread && root.Recorded},
	} {
		if guard.holds {
			reasons = append(reasons, guard.reason)
		}
	}
	return reasons
}

// judge checks one root against every guard, with what can have changed since looked up anew.
func (d *deletion) judge(f facts, root OldRoot) error {
	if err := d.inPlace(root.ID); err != nil {
		return err
	}
	searched, err := d.searched(d.guards.Layout, root.Name)
	if err != nil {
		return err
	}
	if searched {
		return fmt.Errorf("%w: %q is being searched", ErrNoSuchRoot, root.Name) // ListRoots has none such either
	}
	a, err := d.attributesOf(root.ID)
	if err != nil {
		return err
	}
	root.Pinned = a[attrPinned] != ""
	if f.mounted, err = d.watch.mounted(); err != nil {
		return err
	}
	if f.fallback, err = d.DefaultSubvolume(); err != nil {
		return err
	}
	if f.next, err = d.wish.next(); err != nil {
		return err
	}
	if reasons := f.reasons(d.tree, root); len(reasons) > 0 {
		return &ProtectedError{root.ID, root.Name, reasons}
	}
	return nil
}

// judgeAgain looks, before one subvolume of a tree goes, whether it is still a part of that tree, and in use.
func (d *deletion) judgeAgain(id SubvolumeID, root OldRoot) error {
	for at := id; ; at = d.tree.byID[at].ParentID {
		if err := d.inPlace(at); err != nil {
			return err
		}
		if at == root.ID {
			break
		}
	}
	mounted, err := d.watch.mounted()
	if err != nil {
		return err
	}
	if mounted[id] {
		return &ProtectedError{root.ID, root.Name, []ProtectReason{ProtectInUse}}
	}
	return nil
}

// inPlace says whether a subvolume stands where it did when the deletion was planned.
func (d *deletion) inPlace(id SubvolumeID) error {
	where, err := d.backref(id)
	if err != nil {
		return err
	}
	planned := d.tree.byID[id]
	if where.ParentID != planned.ParentID || where.DirID != planned.DirID || where.Name != planned.Name {
		return fmt.Errorf("%w: subvolume %d was moved", ErrStateChanged, id)
	}
	return nil
}

// DefaultSubvolume is what a mount without subvol= gives: the directory item "default" of the tree of tree roots.
func (fs *Filesystem) DefaultSubvolume() (SubvolumeID, error) {
	id := TopLevelID
	key := searchKey{
		TreeID: rootTreeID, MinObjectid: rootTreeDirID, MaxObjectid: rootTreeDirID,
		MinType: keyDirItem, MaxType: keyDirItem,
	}
	err := search(fs.top, key, func(i item) error {
		if len(i.data) < 8 {
			return errTruncated
		}
		id = SubvolumeID(binary.LittleEndian.Uint64(i.data)) // the location's object id
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read default subvolume: %w", err)
	}
	return id, nil
}
