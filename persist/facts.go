package persist

import "golang.org/x/sys/unix"

// Facts are what Plan decides upon: all that was found out about entries, without having changed anything.
type Facts struct {
	Users   Users
	Entries []EntryFacts // one for each entry, in their order
}

// EntryFacts are what was found at an entry's source and in its place.
type EntryFacts struct {
	Source, Target Object
	// Itself tells that the place is the source, or would be: something that is in place already shows there what the source is in.
	Itself bool
	// Former is what a former root has in the place of an entry that is to be adopted and has no source yet.
	Former Object
	Err    error // the source or the place can't be looked at, or the volume is not there

	// Parents that don't exist, outermost first, each with the owner that its counterpart on the other side has, if any.
	SourceParents, TargetParents []MissingParent

	// Difference names something in the place that the source lacks, or tells why that is not known; empty when there is nothing such.
	Difference string
	// Compared tells that this was found out by reading, for what is in the place is not what the source was made from.
	Compared bool
	// Copy is what is known of the two sides of an entry that is copied.
	Copy CopyFacts
	// OptionsDiffer tells that the mount in place has other options than configured.
	OptionsDiffer bool
}

// mounted tells whether the source is mounted in its place.
func (f *EntryFacts) mounted() bool {
	return f.Target.Mount && f.Target.ID == f.Source.ID && f.Source.Kind != Absent
}

// linked tells whether a symlink to the source stands in its place.
func (f *EntryFacts) linked(e Entry) bool {
	return f.Target.Kind == IsSymlink && f.Target.Link == e.Source
}

// CopyFacts are sums of content, owner and mode: of the source, of the place, and of both when they were last the same in
// this very root. Noted is empty when they never were: at the first apply on a fresh root.
type CopyFacts struct {
	Source, Target, Noted string
}

// MissingParent is a directory that has to be made on the way.
type MissingParent struct {
	Path        string // on its side
	Target      string // as a path in the root: for a parent of a place the same as Path
	Counterpart Object // what is at Target in the root, for a parent of a source
}

// ObjectKind says what stands at a path.
type ObjectKind uint8

// What can stand at a path.
const (
	Absent ObjectKind = iota
	IsDirectory
	IsFile
	IsSymlink
	IsOther // a socket, a fifo or a device
)

// Object is what stands at a path.
type Object struct {
	Kind     ObjectKind
	Owner    Owner
	ID       InodeID
	Version  int64  // when content last changed (mtime), in nanoseconds
	Empty    bool   // a directory without entries, a file without content
	Size     int64  // of a file, in bytes
	Link     string // a symlink's text
	Dangling bool   // a symlink that leads to nothing
	Mount    bool   // something is mounted there
	MountID  uint64
}

// InodeID tells inodes apart.
type InodeID struct {
	DevMajor, DevMinor uint32
	Inode              uint64
}

// Owner is an owner and a mode (07777).
type Owner struct {
	UID, GID, Mode uint32
}

// objectOf gives what a stat tells; what takes more calls is left out.
func objectOf(st unix.Statx_t) Object {
	o := Object{
		Owner:   Owner{UID: st.Uid, GID: st.Gid, Mode: uint32(st.Mode) & 0o7777},
		ID:      InodeID{st.Dev_major, st.Dev_minor, st.Ino},
		Mount:   st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
		MountID: st.Mnt_id,
		Version: st.Mtime.Sec*1e9 + int64(st.Mtime.Nsec),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		o.Kind = IsDirectory
	case unix.S_IFREG:
		o.Kind, o.Empty, o.Size = IsFile, st.Size == 0, int64(st.Size)
	case unix.S_IFLNK:
		o.Kind = IsSymlink
	default:
		o.Kind = IsOther
	}
	return o
}

// Name is the kind in a word: absent, directory, file, symlink or other.
func (k ObjectKind) Name() string {
	return nameOf([]string{Absent: "absent", IsDirectory: "directory", IsFile: "file", IsSymlink: "symlink", IsOther: "other"}, uint8(k))
}

// String says what stands there, as part of a sentence.
func (k ObjectKind) String() string {
	switch k {
	case Absent:
		return "absent"
	case IsDirectory:
		return "a directory"
	case IsFile:
		return "a file"
	case IsSymlink:
		return "a symlink"
	case IsOther:
	}
	return "a socket, a fifo or a device"
}
