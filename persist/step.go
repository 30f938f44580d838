package persist

import "fmt"

// Op is one kind of step.
type Op uint8

// The steps that put an entry in its place.
const (
	MakeParent    Op = iota // a directory on the way to Path
	MakeDirectory           // the source
	MakeFile                // the source, with Text as its content
	Seed                    // Path, the source, from what stands in From, the place: staged, synced, verified, renamed
	SeedFormer              // Path, the source, from what a former root has at From, as Seed does
	SetOwner                // of Path to Owner
	MoveAside               // what is at Path, to a name beside it
	RemoveLink              // the symlink at Path that leads to the source
	MakePlace               // Path like From, but without content: what a mount needs to be put on
	Mirror                  // owner, mode and attributes of From onto Path
	BindMount               // From on Path
	SetOptions              // mount options of Path
	MakeLink                // Path, a symlink to From, in place of what is there
	CopyIn                  // Path, the place, from From, the source: staged, synced, renamed
	CopyOut                 // Path, the source, from From, the place: staged, synced, renamed
	PutBack                 // a copy of From, the source, at Path, the place, in place of the mount or symlink
	NoteSeed                // that Path, the source, has all that From, the place, has: it need not be read again
	NoteCopy                // that Path, the source, and its place hold the same in this root
)

// Step is one thing to do. Paths are as the booted system sees them.
type Step struct {
	Op         Op
	Path, From string
	Owner      Owner
	Text       string
	Aside      bool // of CopyOut: what is at Path is kept aside, in the same moment that it is replaced
}

// String gives the step as one line of a plan.
func (s Step) String() string {
	owner := fmt.Sprintf("%d:%d %04o", s.Owner.UID, s.Owner.GID, s.Owner.Mode)
	switch s.Op {
	case MakeParent:
		return fmt.Sprintf("make parent %s %s", s.Path, owner)
	case MakeDirectory:
		return fmt.Sprintf("make directory %s %s", s.Path, owner)
	case MakeFile:
		return fmt.Sprintf("make file %s %s %q", s.Path, owner, s.Text)
	case Seed:
		return fmt.Sprintf("copy what is at %s to %s", s.From, s.Path)
	case SeedFormer:
		return fmt.Sprintf("copy what a former root has at %s to %s", s.From, s.Path)
	case SetOwner:
		return fmt.Sprintf("set owner of %s to %s", s.Path, owner)
	case MoveAside:
		return fmt.Sprintf("move %s aside", s.Path)
	case RemoveLink:
		return fmt.Sprintf("remove the symlink %s", s.Path)
	case MakePlace:
		return fmt.Sprintf("make place %s", s.Path)
	case Mirror:
		return fmt.Sprintf("make %s look like %s", s.Path, s.From)
	case BindMount:
		return fmt.Sprintf("bind %s on %s", s.From, s.Path)
	case SetOptions:
		return fmt.Sprintf("set mount options of %s", s.Path)
	case MakeLink:
		return fmt.Sprintf("link %s to %s", s.Path, s.From)
	case CopyIn, CopyOut:
		if s.Aside {
			return fmt.Sprintf("copy %s to %s, and keep what is there aside", s.From, s.Path)
		}
		return fmt.Sprintf("copy %s to %s", s.From, s.Path)
	case PutBack:
		return fmt.Sprintf("put a copy of %s back at %s", s.From, s.Path)
	case NoteSeed:
		return fmt.Sprintf("note that %s has what is at %s", s.Path, s.From)
	case NoteCopy:
		return fmt.Sprintf("note that %s was copied", s.Path)
	}
	return "unknown step"
}

// Reason gives why the step is there, as the end of its line in a plan.
func (s Step) Reason() string {
	switch s.Op {
	case MakeParent:
		return "it is missing on the way"
	case MakeDirectory, MakeFile:
		return "there is nothing yet to keep"
	case Seed, SeedFormer:
		return "it is not on the volume yet"
	case SetOwner:
		return "as configured"
	case MoveAside:
		return "it is in the way"
	case RemoveLink:
		return "it led to the volume"
	case MakePlace, Mirror:
		return "to be mounted on"
	case BindMount, MakeLink, CopyIn:
		return "so that the volume's is seen there"
	case SetOptions:
		return "they differ from those configured"
	case CopyOut:
		return "it changed since it was copied"
	case PutBack:
		return "what is there now is the volume's"
	case NoteSeed:
		return "so that it is not read again"
	case NoteCopy:
		return "to see changes"
	}
	return ""
}

// done gives what a step did, in a word, for the report; parents and places go without saying.
func (s Step) done() string {
	switch s.Op {
	case MakeDirectory, MakeFile:
		return "made"
	case Seed, SeedFormer:
		return "seeded"
	case SetOwner, Mirror:
		return "owner set"
	case MoveAside:
		return "moved aside"
	case BindMount:
		return "bound"
	case SetOptions:
		return "options set"
	case MakeLink:
		return "linked"
	case CopyIn:
		return "copied"
	case CopyOut:
		if s.Aside {
			return "moved aside, copied back"
		}
		return "copied back"
	case PutBack:
		return "put back"
	case MakeParent, RemoveLink, MakePlace, NoteSeed, NoteCopy:
	}
	return ""
}

// dispensable tells whether an entry can be put in place although the step failed: on a volume that is full, or that can't be written to, what is
// kept is to be there all the same.
func (s Step) dispensable() bool {
	return s.Op == SetOwner || s.Op == Mirror || s.Op == NoteSeed || s.Op == NoteCopy
}
