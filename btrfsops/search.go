package btrfsops

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"
	"time"
)

// item is one item of a search's answer. data is valid until the next answer.
type item struct {
	transid, objectid, offset uint64
	typ                       uint32
	data                      []byte
}

// errTruncated is a search answer or an item that ends too early: a kernel or disk fault, never to be guessed around.
var errTruncated = errors.New("truncated item")

// itemHeaderSize is sizeof(struct btrfs_ioctl_search_header).
const itemHeaderSize = 32

// maxItemSize is more than any item has with its header: items fit into a node, which has 64 KiB at most.
const maxItemSize = 64<<10 + itemHeaderSize

// search calls each for every item of a tree between the minima and maxima of key, in key order; see newCursor.
func search(dir *os.File, key searchKey, each func(item) error) error {
	c := newCursor(dir, key)
	defer c.close()
	for {
		i, more, err := c.next()
		if err != nil || !more {
			return err
		}
		if err := each(i); err != nil {
			return err
		}
	}
}

func (k searchKey) contains(i item) bool {
	return i.objectid >= k.MinObjectid && i.objectid <= k.MaxObjectid &&
		i.typ >= k.MinType && i.typ <= k.MaxType &&
		i.offset >= k.MinOffset && i.offset <= k.MaxOffset
}

// Offsets in struct btrfs_root_item, which is packed and little-endian on disk. Older kernels wrote it only up to level.
const (
	rootItemFlags        = 208
	rootItemDropProgress = 220 // and after it drop_level
	rootItemGeneration   = 160
	rootItemGeneration2  = 239
	rootItemUUID         = 247
	rootItemParentUUID   = 263
	rootItemCtransid     = 295
	rootItemOtransid     = 303
	rootItemCtime        = 327
	rootItemOtime        = 339
	rootItemOldSize      = 239
	rootItemMinimum      = 351
)

// decodeRootItem reads struct btrfs_root_item. Without valid newer fields (a kernel before 3.6 wrote it) times and UUIDs
// stay zero.
func decodeRootItem(b []byte, s *Subvolume) error {
	if len(b) < rootItemOldSize {
		return errTruncated
	}
	le := binary.LittleEndian
	s.ReadOnly = le.Uint64(b[rootItemFlags:])&rootFlagReadOnly != 0
	if len(b) < rootItemMinimum || le.Uint64(b[rootItemGeneration2:]) != le.Uint64(b[rootItemGeneration:]) {
		return nil
	}
	s.UUID = formatUUID([16]byte(b[rootItemUUID:]))
	s.ParentUUID = formatUUID([16]byte(b[rootItemParentUUID:]))
	s.ChangedIn = le.Uint64(b[rootItemCtransid:])
	s.CreatedIn = le.Uint64(b[rootItemOtransid:])
	s.Changed = diskTime(b[rootItemCtime:])
	s.Created = diskTime(b[rootItemOtime:])
	return nil
}

// diskTime reads struct btrfs_timespec.
func diskTime(b []byte) time.Time {
	return time.Unix(int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint32(b[8:]))).UTC()
}

// rootRef is where a subvolume stands.
type rootRef struct {
	dirID uint64
	name  string
}

// decodeRootRef reads struct btrfs_root_ref: directory 8, sequence 8, length of the name 2, the name.
func decodeRootRef(b []byte) (rootRef, error) {
	const fixed = 18
	if len(b) < fixed {
		return rootRef{}, errTruncated
	}
	n := int(binary.LittleEndian.Uint16(b[16:]))
	if len(b)-fixed < n {
		return rootRef{}, errTruncated
	}
	return rootRef{dirID: binary.LittleEndian.Uint64(b), name: string(b[fixed : fixed+n])}, nil
}

// decodeXattrs calls each for every extended attribute in an item: attributes whose names collide share one. It reads
// struct btrfs_dir_item: key 17, transaction 8, length of the data 2, of the name 2, type 1, the name, the data.
func decodeXattrs(b []byte, each func(name, value string)) error {
	const fixed = 30
	for len(b) > 0 {
		if len(b) < fixed {
			return errTruncated
		}
		values := int(binary.LittleEndian.Uint16(b[25:]))
		names := int(binary.LittleEndian.Uint16(b[27:]))
		if len(b)-fixed < names+values {
			return errTruncated
		}
		each(string(b[fixed:fixed+names]), string(b[fixed+names:fixed+names+values]))
		b = b[fixed+names+values:]
	}
	return nil
}

// decodeExtent returns the bytes that struct btrfs_file_extent_item takes on disk, and the transaction that wrote it.
func decodeExtent(b []byte) (transid, size uint64, err error) {
	const fixed, full = 21, 53
	if len(b) < fixed {
		return 0, 0, errTruncated
	}
	transid = binary.LittleEndian.Uint64(b)
	if b[20] == extentInline {
		return transid, uint64(len(b) - fixed), nil
	}
	if len(b) < full {
		return 0, 0, errTruncated
	}
	return transid, binary.LittleEndian.Uint64(b[29:]), nil // disk_num_bytes: 0 for a hole
}

// sortedIDs returns the keys of m in ascending order.
func sortedIDs[V any](m map[SubvolumeID]V) []SubvolumeID {
	return slices.Sorted(maps.Keys(m))
}
