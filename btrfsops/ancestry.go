package btrfsops

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// fork is how two subvolumes are related.
type fork struct {
	// transid is the last transaction that both share: what was made until then and not changed since is the same in
	// both. 0: they have nothing in common.
	transid uint64
	// still says that the first of the two has not changed since.
	still bool
}

// ancestor is what a subvolume was, up to a transaction.
type ancestor struct {
	uuid    string
	transid uint64
}

// forkOf finds the youngest common ancestor of two subvolumes. It need not exist any more.
func (fs *Filesystem) forkOf(a, b Subvolume) (fork, error) {
	ofA, err := fs.ancestors(a)
	if err != nil {
		return fork{}, err
	}
	ofB, err := fs.ancestors(b)
	if err != nil {
		return fork{}, err
	}
	for _, x := range ofA {
		for _, y := range ofB {
			if x.uuid == y.uuid {
				transid := min(x.transid, y.transid)
				return fork{transid, a.ChangedIn <= transid}, nil
			}
		}
	}
	return fork{}, nil
}

// maxAncestors bounds the line of snapshots of snapshots that is followed.
const maxAncestors = 10_000

// ancestors lists a subvolume and what it is a snapshot of, and so on, youngest first.
func (fs *Filesystem) ancestors(s Subvolume) ([]ancestor, error) {
	if s.UUID == "" {
		return nil, nil
	}
	line := []ancestor{{s.UUID, ^uint64(0)}}
	for len(line) < maxAncestors && s.ParentUUID != "" {
		line = append(line, ancestor{s.ParentUUID, min(s.CreatedIn, line[len(line)-1].transid)})
		parent, found, err := fs.byUUID(s.ParentUUID)
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		s = parent
	}
	return line, nil
}

// byUUID looks a subvolume up in the tree of UUIDs, whose keys are the two halves of a UUID; false when there is none.
func (fs *Filesystem) byUUID(uuid string) (s Subvolume, found bool, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(raw) != 16 {
		return s, false, fmt.Errorf("%w: %q is no UUID", ErrInvalidName, uuid)
	}
	half := binary.LittleEndian.Uint64(raw)
	key := searchKey{
		TreeID: uuidTreeID, MinObjectid: half, MaxObjectid: half, MinType: keyUUIDSubvol, MaxType: keyUUIDSubvol,
		MinOffset: binary.LittleEndian.Uint64(raw[8:]), MaxOffset: binary.LittleEndian.Uint64(raw[8:]),
	}
	var id SubvolumeID
	err = search(fs.top, key, func(i item) error {
		if len(i.data) < 8 {
			return errTruncated
		}
		id = SubvolumeID(binary.LittleEndian.Uint64(i.data))
		return nil
	})
	if err != nil || id == 0 {
		return s, false, err
	}
	return fs.one(id, keyRootItem)
}
