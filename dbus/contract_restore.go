package dbus

// RestoreOptions say what to bring back from an old root, and where to.
type RestoreOptions struct {
	Paths  []string // absolute paths of the running system
	To     string   // a directory to put them into, each by its last name; empty: back where they were
	DryRun bool     // only tell what would be done
}

// RestoreResult is a line of [Client.Restore]: what became, or with DryRun would
// become, of one path; of a whole tree where none was.
type RestoreResult struct {
	Path    Bytes      `json:"path"`   // that was asked for, or a path below it
	Target  Bytes      `json:"target"` // where it is now
	Action  string     `json:"action"` // "restored", "replaced" (what was there is aside), "same" (it is there already) or "failed"
	Aside   Bytes      `json:"aside"`  // where what stood there is now; empty when nothing did, and with DryRun
	Entries uint64     `json:"entries"`
	Bytes   uint64     `json:"bytes"` // the sizes of its files
	Error   *ErrorInfo `json:"error,omitempty"`
}

// Version is a line of [Client.ListVersions]: how a path is in one root.
type Version struct {
	Root           uint64     `json:"root"` // 0 for the running root
	Name           string     `json:"name"` // of the old root
	RolledOverUSec uint64     `json:"rolledOverUSec"`
	Version        uint64     `json:"version"` // the same number is the same thing; counted from 1, 0 when it is not there
	Kind           string     `json:"kind"`    // "absent", "file", "directory", "symlink" or "other"
	Size           uint64     `json:"size"`
	ModifiedUSec   uint64     `json:"modifiedUSec"`
	Mode           uint32     `json:"mode"` // permission bits
	UID            uint32     `json:"uid"`
	GID            uint32     `json:"gid"`
	Link           Bytes      `json:"link"` // of a symlink
	Error          *ErrorInfo `json:"error,omitempty"`
}
