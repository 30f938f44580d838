package persist

import (
	"fmt"
	"strconv"
)

// Kind says what an entry is.
type Kind uint8

// The kinds of entries.
const (
	Directory Kind = iota
	File
)

// Method says how an entry is put in its place.
type Method uint8

// The methods. Auto is Bind for a directory; for a file it is Bind when the source exists, else Symlink.
const (
	Auto Method = iota
	Bind
	Symlink
	Copy
)

// State says how an entry stands.
type State uint8

// The states of an entry.
const (
	InPlace  State = iota // the place shows the source
	Missing               // nothing was put in place yet
	Conflict              // the place holds something else than an existing source does
	Drifted               // it is in place, but not as it should be: owner, mode, symlink, mount option or note; or it was
	Failed                // it could not be looked at, or not be put in place
)

var (
	kindNames   = [...]string{Directory: "directory", File: "file"}
	methodNames = [...]string{Auto: "auto", Bind: "bind", Symlink: "symlink", Copy: "copy"}
	stateNames  = [...]string{InPlace: "in-place", Missing: "missing", Conflict: "conflict", Drifted: "drifted", Failed: "failed"}
)

// String gives the kind's name: directory or file.
func (k Kind) String() string { return nameOf(kindNames[:], uint8(k)) }

// String gives the method's name as the configuration writes it.
func (m Method) String() string { return nameOf(methodNames[:], uint8(m)) }

// String gives the state's name: in-place, missing, conflict, drifted or failed.
func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a kind's name.
func (k *Kind) UnmarshalText(text []byte) error { return parseName(kindNames[:], text, (*uint8)(k)) }

// MarshalText writes the method's name.
func (m Method) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a method's name.
func (m *Method) UnmarshalText(text []byte) error {
	return parseName(methodNames[:], text, (*uint8)(m))
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name.
func (s *State) UnmarshalText(text []byte) error {
	return parseName(stateNames[:], text, (*uint8)(s))
}

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}

func parseName(names []string, text []byte, to *uint8) error {
	for i, name := range names {
		if name == string(text) {
			*to = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("unknown name %q", text)
}

// Mode is a file's permission bits (07777), or not given.
type Mode struct {
	Bits  uint32
	Given bool
}

// String gives the mode in octal, and the empty string when it is not given.
func (m Mode) String() string {
	if !m.Given {
		return ""
	}
	return fmt.Sprintf("%04o", m.Bits)
}

// Ownership is an owner and a mode as configured: names or numbers, each empty when not given.
type Ownership struct {
	User, Group string
	Mode        Mode
}

// Origin is where an entry was configured, for messages.
type Origin struct {
	File string
	Line int
}

// String gives the origin as file:line.
func (o Origin) String() string {
	if o.File == "" {
		return ""
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// RootName names a root for good, whatever becomes of it: the id of its subvolume, which is a part of its name as an old root,
// and the UUID of that, which no subvolume of any file system shares.
type RootName struct {
	Subvolume uint64
	UUID      string // lower case, 8-4-4-4-12
}

// Volume is a persistent volume with what is kept on it.
type Volume struct {
	Path                   string // where it is mounted in the booted system
	HideMounts, AllowTrash bool   // for its entries, as far as an entry does not say otherwise
	Entries                []Entry
}

// Entry is one directory or file kept on a persistent volume. All paths are absolute, clean, and as the booted system sees
// them.
type Entry struct {
	Kind   Kind
	Target string // its place in the root
	Source string // where it is kept: below Volume
	Volume string // path of the persistent volume

	User, Group string // as configured, name or number; empty: not given
	Mode        Mode
	Parent      Ownership // of parents that must be made

	// Home is the user in whose home the entry is, by the configuration; empty for none. BelowHome is then its path in that
	// home, and HomeDir the home if the configuration says it. If not, the passwd file of the root being booted does, and
	// Target and Source follow it when that is read; until then they hold the usual home.
	Home, HomeDir, BelowHome string

	// Adopt marks what was added while the system ran: as long as there is no source, it is made from what a former root
	// has in the place (Options.Former), before what this root has there. AddedIn is the root that it was added in and that
	// it is still to be taken from; zero: not known.
	Adopt   bool
	AddedIn RootName

	Method       Method
	Hide, Trash  bool     // x-gvfs-hide, x-gvfs-trash
	MountOptions []string // of the bind: ro, nosuid, nodev, noexec, noatime, nodiratime, relatime, nosymfollow, x-…
	Origin       Origin
}
