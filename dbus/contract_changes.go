package dbus

import "time"

// ChangeFilter selects what is told of the differences between two roots. The zero value selects all that are losses.
type ChangeFilter struct {
	Paths   []string  // absolute paths: what is at one of them or below; none: everything
	Since   time.Time // what was changed then or later; zero: ever
	Ignored bool      // with what is ignored; see FileChange.Rule
}

// FileChange is one difference between two roots: a line of the results of ListLosses and CompareRoots. Times are in RFC
// 3339 and UTC.
type FileChange struct {
	Change   string      `json:"change"`         // "added", "changed", "deleted", "metadata" or "renamed"
	Path     Bytes       `json:"path"`           // absolute; of what is deleted, where it was
	From     Bytes       `json:"from,omitempty"` // renamed: where it was
	Type     string      `json:"type"`           // "file", "directory", "symlink", "subvolume", "fifo", "socket", "block-device" or "character-device"
	Size     uint64      `json:"size"`           // in bytes; of what is deleted, what it had
	Link     bool        `json:"link,omitempty"` // another name of a file whose size is told with its first name
	Mode     uint32      `json:"mode"`           // permission bits
	UID      uint32      `json:"uid"`
	GID      uint32      `json:"gid"`
	Modified time.Time   `json:"modified,omitzero"` // when its content was changed
	Changed  time.Time   `json:"changed,omitzero"`  // when anything of it was changed; of what is deleted, about when that was
	Aspects  []string    `json:"aspects,omitempty"` // what differs where both have something: "content", "type", "mode", "owner", "xattrs", "flags"
	Before   *FileBefore `json:"before,omitempty"`  // what stood there, where both have something
	// Subvolume is the id of a nested subvolume, whose files are not listed. Size is that of all its data, then.
	Subvolume uint64 `json:"subvolume,omitempty"`
	Rule      string `json:"rule,omitempty"` // the rule by which it is ignored: file:line: pattern
}

// FileBefore is what a path was.
type FileBefore struct {
	Type     string    `json:"type"`
	Size     uint64    `json:"size"`
	Mode     uint32    `json:"mode"`
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	Modified time.Time `json:"modified,omitzero"`
}
