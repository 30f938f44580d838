package dbus

// EntryDeed is what is to be done with an entry.
type EntryDeed string

// The deeds.
const (
	AddEntry     EntryDeed = "add"     // begin to keep what is at a path
	RemoveEntry  EntryDeed = "remove"  // end it: a copy takes its place
	UnmountEntry EntryDeed = "unmount" // take its mount away until the next boot
)

// EntryChange is what is asked of an entry. But for Deed and Target, all may be empty;
// Volume to Mode are for [AddEntry] alone.
type EntryChange struct {
	Deed   EntryDeed
	Target string // absolute path

	Volume string // the only one that is configured, when empty
	Kind   string // "directory" or "file"; of what is there, when empty
	Method string // as in the configuration
	User   string
	Group  string
	Mode   *uint32

	NextBoot bool // now it is only recorded
	DryRun   bool // the job only tells what would be done
}

// Orphan is something that lies on a persistent volume and that no entry declares.
type Orphan struct {
	Path   string // absolute path; bytes, not necessarily UTF-8
	Kind   string // "directory", "file", "symlink" or "other"
	Volume string
}
