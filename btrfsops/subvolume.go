package btrfsops

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"time"
	"unsafe"
)

// Subvolume is what the tree of tree roots says of a subvolume.
type Subvolume struct {
	ID                   SubvolumeID
	ParentID             SubvolumeID // the subvolume that holds it; 0: it is being deleted
	DirID                uint64      // inode number, in the parent, of the directory that holds it
	Name                 string      // its name in that directory
	UUID                 string
	ParentUUID           string    // UUID of what it is a snapshot of, "" when of nothing
	Created              time.Time // otime: right for snapshots too, survives renames
	Changed              time.Time // ctime: the last change of anything in it
	CreatedIn, ChangedIn uint64    // transaction ids of the same
	ReadOnly             bool
}

// pristine says that nothing in it has changed since it was made. A snapshot begins with the last change of its source.
func (s Subvolume) pristine() bool { return s.ChangedIn <= s.CreatedIn }

// subvolumeInfo asks about the subvolume that dir is in.
func subvolumeInfo(dir *os.File) (Subvolume, error) {
	var args subvolInfoArgs
	if err := ioctl(int(dir.Fd()), iocGetSubvolInfo, unsafe.Pointer(&args)); err != nil {
		return Subvolume{}, wrap("read subvolume information of", dir.Name(), err)
	}
	return Subvolume{
		ID:         SubvolumeID(args.Treeid),
		ParentID:   SubvolumeID(args.ParentID),
		DirID:      args.Dirid,
		Name:       cString(args.Name[:]),
		UUID:       formatUUID(args.UUID),
		ParentUUID: formatUUID(args.ParentUUID),
		Created:    args.Otime.time(),
		Changed:    args.Ctime.time(),
		CreatedIn:  args.Otransid,
		ChangedIn:  args.Ctransid,
		ReadOnly:   args.Flags&rootFlagReadOnly != 0,
	}, nil
}

func (t timespec) time() time.Time { return time.Unix(int64(t.Sec), int64(t.Nsec)).UTC() }

// cString is what stands before the first NUL.
func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// formatUUID writes 8-4-4-4-12, and "" for all zero.
func formatUUID(u [16]byte) string {
	if u == [16]byte{} {
		return ""
	}
	h := hex.EncodeToString(u[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// tree is all subvolumes of a file system at one moment.
type tree struct {
	byID     map[SubvolumeID]Subvolume
	children map[SubvolumeID][]SubvolumeID // in ascending order
}

func newTree() *tree {
	return &tree{byID: map[SubvolumeID]Subvolume{}, children: map[SubvolumeID][]SubvolumeID{}}
}

// one reads what the items of one type say of one subvolume; false when there is none.
func (fs *Filesystem) one(id SubvolumeID, itemType uint32) (Subvolume, bool, error) {
	t := newTree()
	key := searchKey{
		TreeID: rootTreeID, MinObjectid: uint64(id), MaxObjectid: uint64(id), MinType: itemType, MaxType: itemType,
	}
	if err := search(fs.top, key, t.add); err != nil {
		return Subvolume{}, false, fmt.Errorf("find subvolume %d: %w", id, err)
	}
	s, found := t.byID[id]
	return s, found, nil
}

// subvolumes reads all subvolumes in one search of the tree of tree roots: their items and the references back to where
// they stand. A subvolume that is being deleted has no reference left and is not in the result.
func (fs *Filesystem) subvolumes() (*tree, error) {
	t := newTree()
	key := searchKey{
		TreeID: rootTreeID, MinObjectid: firstFreeID, MaxObjectid: lastFreeID,
		MinType: keyRootItem, MaxType: keyRootBackref,
	}
	err := search(fs.top, key, t.add)
	if err != nil {
		return nil, fmt.Errorf("list subvolumes: %w", err)
	}
	for id, s := range t.byID {
		if s.ParentID == 0 {
			delete(t.byID, id)
		}
	}
	t.link()
	return t, nil
}

// add takes in one item of the search.
func (t *tree) add(i item) error {
	id := SubvolumeID(i.objectid)
	s := t.byID[id]
	s.ID = id
	switch i.typ {
	case keyRootItem:
		if err := decodeRootItem(i.data, &s); err != nil {
			return fmt.Errorf("subvolume %d: %w", id, err)
		}
	case keyRootBackref:
		ref, err := decodeRootRef(i.data)
		if err != nil {
			return fmt.Errorf("subvolume %d: %w", id, err)
		}
		s.ParentID, s.DirID, s.Name = SubvolumeID(i.offset), ref.dirID, ref.name
	default:
		return nil
	}
	t.byID[id] = s
	return nil
}

// link fills children from the parents.
func (t *tree) link() {
	for _, id := range sortedIDs(t.byID) {
		parent := t.byID[id].ParentID
		t.children[parent] = append(t.children[parent], id)
	}
}

// below returns the subvolumes that id holds, at any depth, deepest first: the order in which they can be deleted.
func (t *tree) below(id SubvolumeID) []SubvolumeID {
	var out []SubvolumeID
	for _, child := range t.children[id] {
		out = append(append(out, t.below(child)...), child)
	}
	return out
}

// holds says whether inner is outer or lies in it.
func (t *tree) holds(outer, inner SubvolumeID) bool {
	for steps := 0; inner != 0 && steps <= len(t.byID); steps++ {
		if inner == outer {
			return true
		}
		inner = t.byID[inner].ParentID
	}
	return false
}

// directory identifies a directory: the subvolume it is in and its inode number there.
type directory struct {
	subvolume SubvolumeID
	inode     uint64
}

// in returns the subvolumes directly in a directory, ascending by id.
func (t *tree) in(d directory) []Subvolume {
	var out []Subvolume
	for _, id := range t.children[d.subvolume] {
		if s := t.byID[id]; s.DirID == d.inode {
			out = append(out, s)
		}
	}
	return out
}

// lookup returns the id of the subvolume at p, relative to the top level; false when there is none.
func (fs *Filesystem) lookup(p string) (SubvolumeID, bool, error) {
	info, found, err := fs.subvolumeAt(path.Clean(p))
	if errors.Is(err, ErrNotSubvolume) {
		return 0, false, nil
	}
	return info.ID, found, err
}
