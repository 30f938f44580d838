package btrfsops

import (
	"time"

	"golang.org/x/sys/unix"
)

// ChangeKind says how a root differs from its base at one path.
type ChangeKind string

// The kinds.
const (
	ChangeAdded    ChangeKind = "added"    // the base has nothing there
	ChangeDeleted  ChangeKind = "deleted"  // the root has nothing there any more
	ChangeModified ChangeKind = "changed"  // content, or the type of file
	ChangeMetadata ChangeKind = "metadata" // mode, owner, attributes or flags only
	ChangeRenamed  ChangeKind = "renamed"  // the same file or directory as in the base, elsewhere; its content may have changed too
)

// FileType is the type of a file.
type FileType string

// The types.
const (
	TypeFile        FileType = "file"
	TypeDirectory   FileType = "directory"
	TypeSymlink     FileType = "symlink"
	TypeBlockDevice FileType = "block-device"
	TypeCharDevice  FileType = "character-device"
	TypeFIFO        FileType = "fifo"
	TypeSocket      FileType = "socket"
	TypeSubvolume   FileType = "subvolume"
)

// Aspects are what differs at a path that both have. Times alone are no difference.
type Aspects uint8

// The aspects.
const (
	AspectContent Aspects = 1 << iota // the data of a file, where a symlink points, the number of a device
	AspectType                        // the type of file
	AspectMode
	AspectOwner
	AspectXattrs // extended attributes: ACLs, capabilities and security labels among them
	AspectFlags  // those of chattr(1)
)

// Attributes are the owner and the mode (permissions, setuid, setgid and sticky bit as in chmod(2)) of a file.
type Attributes struct {
	UID, GID, Mode uint32
}

// Change is one difference between a root and its base.
type Change struct {
	Kind ChangeKind
	Path string // in the root, what is deleted: in the base. Bytes without a leading "/"; "." is the root itself
	From string // renamed: the path in the base
	Type FileType
	// Subvolume is the id of a nested subvolume, whose own files are not listed.
	Subvolume SubvolumeID
	Aspects   Aspects // of what is changed, metadata or renamed
	Size      uint64  // in bytes; of what is deleted, what it had; of a nested subvolume, what its data takes on disk
	Link      bool    // another name of a file that was listed with its size already
	Attributes
	Modified time.Time // mtime
	Changed  time.Time // ctime; of what is deleted, the mtime of the directory that has lost it, or lost what held it
	Before   *Before   // what the base had there, when anything
}

// Before is what a path was in the base.
type Before struct {
	Type     FileType
	Size     uint64
	Modified time.Time
	Attributes
}

// fileTypes names the types of st_mode.
var fileTypes = map[uint32]FileType{
	unix.S_IFREG: TypeFile, unix.S_IFDIR: TypeDirectory, unix.S_IFLNK: TypeSymlink, unix.S_IFBLK: TypeBlockDevice,
	unix.S_IFCHR: TypeCharDevice, unix.S_IFIFO: TypeFIFO, unix.S_IFSOCK: TypeSocket,
}

func (n inode) fileType() FileType { return fileTypes[n.mode&unix.S_IFMT] }

func (n inode) attributes() Attributes { return Attributes{n.uid, n.gid, n.mode & 0o7777} }

// listedSize is the size that a change shows: that of a directory says nothing.
func (n inode) listedSize() uint64 {
	if n.isDirectory() {
		return 0
	}
	return n.size
}

// change begins a change that is about n.
func (n inode) change(kind ChangeKind, path string) Change {
	return Change{
		Kind: kind, Path: path, Type: n.fileType(), Size: n.listedSize(), Attributes: n.attributes(),
		Modified: n.mtime, Changed: n.ctime,
	}
}

func (n inode) before() *Before {
	return &Before{Type: n.fileType(), Size: n.listedSize(), Modified: n.mtime, Attributes: n.attributes()}
}

// kindOf is the kind of a change at a path that both have; false when nothing differs.
func (a Aspects) kindOf() (ChangeKind, bool) {
	switch {
	case a&(AspectContent|AspectType) != 0:
		return ChangeModified, true
	case a != 0:
		return ChangeMetadata, true
	default:
		return "", false
	}
}

// again says, if it is so, that this is another name of a file that was listed already.
func (c *Change) again(so bool) {
	if so {
		c.Link, c.Size = true, 0
	}
}
