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
}

// Protected returns why each old root and snapshot may not be deleted now; one that may be is not in the map.
func (fs *Filesystem) Protected(g Guards) (map[SubvolumeID][]ProtectReason, error) {
	roots, t, err := fs.listRoots(g.Layout)
	if err != nil {
		return nil, err
	}
	watch, err := fs.watchMounts()
	if err != nil {
		return nil, err
	}
	defer watch.close()
	facts, err := fs.gather(g, roots, watch)
	if err != nil {
		return nil, err
	}
	protected := map[SubvolumeID][]ProtectReason{}
	for _, root := range roots {
		if reasons := facts.reasons(t, root); len(reasons) > 0 {
			protected[root.ID] = reasons
		}
	}
	return protected, nil
}

// facts is what the guards are judged by, at one moment.
type facts struct {
	booted, fallback    SubvolumeID // fallback: the default subvolume
	next                string      // name of the old root that the next boot was asked to boot
	newest              map[SubvolumeID]bool
	mounted             map[SubvolumeID]bool
	template, elsewhere []SubvolumeID // elsewhere: persistent volumes and other configured subvolumes, the root
}

func (fs *Filesystem) gather(g Guards, roots []OldRoot, watch *mountWatch) (facts, error) {
	f := facts{booted: g.Booted, newest: newest(roots)}
	var err error
	if f.mounted, err = watch.mounted(); err != nil {
		return f, err
	}
	if f.fallback, err = fs.defaultSubvolume(); err != nil {
		return f, err
	}
	if f.next, err = fs.NextBoot(g.Layout); err != nil {
		return f, err
	}
	if id, found := fs.lookup(g.Layout.Template); found && g.Layout.Template != "" {
		f.template = append(f.template, id)
	}
	for _, p := range append([]string{g.Layout.Root, g.Layout.Root + stagedSuffix}, g.Persistent...) {
		if id, found := fs.lookup(p); found {
			f.elsewhere = append(f.elsewhere, id)
		}
	}
	return f, nil
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
	} {
		if guard.holds {
			reasons = append(reasons, guard.reason)
		}
	}
	return reasons
}

// defaultSubvolume is what a mount without subvol= gives: the directory item "default" of the tree of tree roots.
func (fs *Filesystem) defaultSubvolume() (SubvolumeID, error) {
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
