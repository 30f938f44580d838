package btrfsops

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"golang.org/x/sys/unix"
)

// inode is what the items of one inode say, but for its data.
type inode struct {
	number              uint64
	generation, transid uint64 // transactions that made it, and that changed it last
	size                uint64 // in bytes
	nlink               uint32 // 0: it is open or being deleted, and nowhere in the tree
	uid, gid, mode      uint32 // mode with the type, as stat(2) has it
	rdev, flags         uint64
	ctime, mtime        time.Time
	links               []link
	xattrs              map[string]string // nil: none
	extents             []segment         // of a file or a symlink
	more                bool              // it has more extents than these
	whole               bool              // links and xattrs are all there, and extents but for more
}

// maxExtents is how many extents of a file are remembered.
const maxExtents = 4

// link is a place of an inode: a name in a directory.
type link struct {
	dir  uint64
	name string
}

func (n inode) isDirectory() bool { return n.mode&unix.S_IFMT == unix.S_IFDIR }

// same says whether two subvolumes with a common ancestor have the same inode: numbers are used again, but not in the same
// transaction.
func (n inode) same(other inode) bool {
	return n.number == other.number && n.generation == other.generation && n.mode&unix.S_IFMT == other.mode&unix.S_IFMT
}

// Offsets in struct btrfs_inode_item, which is little-endian on disk.
const (
	inodeItemGeneration = 0
	inodeItemTransid    = 8
	inodeItemBytes      = 16
	inodeItemLinks      = 40
	inodeItemUID        = 44
	inodeItemGID        = 48
	inodeItemMode       = 52
	inodeItemRdev       = 56
	inodeItemFlags      = 64
	inodeItemCtime      = 124
	inodeItemMtime      = 136
	inodeItemSize       = 160
)

// inodeFlagsOfUsers are the flags that chattr(1) sets, of BTRFS_INODE_*. The rest is btrfs's own bookkeeping.
const inodeFlagsOfUsers = 1<<1 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11

// decodeInode reads struct btrfs_inode_item into n.
func decodeInode(b []byte, n *inode) error {
	if len(b) < inodeItemSize {
		return errTruncated
	}
	le := binary.LittleEndian
	n.generation, n.transid = le.Uint64(b[inodeItemGeneration:]), le.Uint64(b[inodeItemTransid:])
	n.size, n.nlink = le.Uint64(b[inodeItemBytes:]), le.Uint32(b[inodeItemLinks:])
	n.uid, n.gid, n.mode = le.Uint32(b[inodeItemUID:]), le.Uint32(b[inodeItemGID:]), le.Uint32(b[inodeItemMode:])
	n.rdev = le.Uint64(b[inodeItemRdev:])
	if kind := n.mode & unix.S_IFMT; kind == unix.S_IFREG || kind == unix.S_IFDIR { // no others show theirs
		n.flags = le.Uint64(b[inodeItemFlags:]) & inodeFlagsOfUsers
	}
	n.ctime, n.mtime = diskTime(b[inodeItemCtime:]), diskTime(b[inodeItemMtime:])
	return nil
}

// hasData says whether the data of an inode counts as content.
func (n inode) hasData() bool {
	kind := n.mode & unix.S_IFMT
	return kind == unix.S_IFREG || kind == unix.S_IFLNK
}

// enough says that neither an item of the inode nor those after it are of interest.
func (n *inode) enough(i item) bool {
	return i.typ > keyExtentData || i.typ > keyXattrItem && !n.hasData() || n.more
}

// take takes one item of the inode in. What it holds as a directory is not its business.
func (n *inode) take(i item) error {
	n.number = i.objectid
	switch i.typ {
	case keyInodeItem:
		return decodeInode(i.data, n)
	case keyInodeRef:
		return decodeInodeRefs(i.data, func(name string) { n.links = append(n.links, link{i.offset, name}) })
	case keyInodeExtref:
		return decodeInodeExtrefs(i.data, func(l link) { n.links = append(n.links, l) })
	case keyXattrItem:
		if n.xattrs == nil {
			n.xattrs = map[string]string{}
		}
		return decodeXattrs(i.data, func(name, value string) { n.xattrs[name] = value })
	case keyExtentData:
		return n.takeExtent(i)
	default:
		return nil
	}
}

func (n *inode) takeExtent(i item) error {
	if !n.hasData() || len(n.extents) == maxExtents {
		n.more = n.hasData()
		return nil
	}
	s, err := decodeSegment(i)
	s.data = bytes.Clone(s.data)
	n.extents = append(n.extents, s)
	return err
}

// decodeInodeRefs calls each for every name in an item: the directory is the key's offset. It reads struct
// btrfs_inode_ref: index 8, length of the name 2, the name.
func decodeInodeRefs(b []byte, each func(name string)) error {
	const fixed = 10
	for len(b) > 0 {
		if len(b) < fixed {
			return errTruncated
		}
		size := int(binary.LittleEndian.Uint16(b[8:]))
		if len(b)-fixed < size {
			return errTruncated
		}
		each(string(b[fixed : fixed+size]))
		b = b[fixed+size:]
	}
	return nil
}

// decodeInodeExtrefs calls each for every link in an item: links that found no room in the item of their directory. It
// reads struct btrfs_inode_extref: directory 8, index 8, length of the name 2, the name.
func decodeInodeExtrefs(b []byte, each func(link)) error {
	const fixed = 18
	for len(b) > 0 {
		if len(b) < fixed {
			return errTruncated
		}
		size := int(binary.LittleEndian.Uint16(b[16:]))
		if len(b)-fixed < size {
			return errTruncated
		}
		each(link{binary.LittleEndian.Uint64(b), string(b[fixed : fixed+size])})
		b = b[fixed+size:]
	}
	return nil
}

// class is what a name in a directory leads to, as far as comparing goes.
type class int

const (
	classNone      class = iota
	classDirectory       // of the same subvolume
	classSubvolume       // another subvolume's
	classFile            // anything that is no directory
)

// entry is a name in a directory.
type entry struct {
	name   string
	class  class
	target uint64 // inode number; of a subvolume: its id
}

// decodeEntries calls each for every name in a DIR_ITEM or DIR_INDEX item. It reads struct btrfs_dir_item: key 17 (object
// id 8, type 1, offset 8), transaction 8, length of the data 2, of the name 2, type 1, the name, the data.
func decodeEntries(b []byte, each func(entry)) error {
	for len(b) > 0 {
		if len(b) < dirItemFixed {
			return errTruncated
		}
		data, name := int(binary.LittleEndian.Uint16(b[25:])), int(binary.LittleEndian.Uint16(b[27:]))
		if len(b)-dirItemFixed < name+data {
			return errTruncated
		}
		each(entry{
			name: string(b[dirItemFixed : dirItemFixed+name]), class: classOf(b[8], b[29]), target: binary.LittleEndian.Uint64(b),
		})
		b = b[dirItemFixed+name+data:]
	}
	return nil
}

// dirItemFixed is the size of struct btrfs_dir_item.
const dirItemFixed = 30

// entryMadeIn is the transaction that put the first name in a DIR_ITEM or DIR_INDEX item there.
func entryMadeIn(b []byte) (transid uint64, err error) {
	if len(b) < dirItemFixed {
		return 0, errTruncated
	}
	return binary.LittleEndian.Uint64(b[17:]), nil
}

// classOf tells a class by the type of the key that an entry points to, and the type of file.
func classOf(keyType, fileType byte) class {
	switch {
	case keyType == keyRootItem:
		return classSubvolume
	case fileType == typeDirectory:
		return classDirectory
	default:
		return classFile
	}
}

// nameHash is the offset of the DIR_ITEM of a name: btrfs_name_hash(), crc32c(~1, name) without the usual inversions. The table is
// made once, by the library and with the first name: early boot, which is to start quickly, has none.
func nameHash(name []byte) uint64 {
	return uint64(^crc32.Update(1, crc32.MakeTable(crc32.Castagnoli), name))
}
