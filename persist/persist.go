package persist

import "errors"

// Options say where and how to work.
type Options struct {
	// Sysroot is the directory at which the root being booted is mounted: "/" or, in an initrd, /sysroot.
	Sysroot string
	// RunDir is where the mount table of libmount lives, as seen now; empty: /run/mount.
	MountTable string
	// KeepGoing applies what is right when some entries are invalid (a user that does not exist). Without it nothing is
	// changed then.
	KeepGoing bool
	// Done, when set, is called after each entry with its result.
	Done func(Result)
}

// Status is how an entry stands. Entry has its final paths.
type Status struct {
	Entry Entry
	State State
	Err   error // why it is Conflict, Drifted or Failed
}

// Result is what Apply did to one entry.
type Result struct {
	Target  string `json:"target"`
	Source  string `json:"source"`
	Kind    Kind   `json:"kind"`
	State   State  `json:"state"`            // after what was done
	Actions string `json:"action,omitempty"` // what was done, empty for nothing: "seeded, bound"
	Origin  string `json:"origin,omitempty"`
	Error   string `json:"error,omitempty"`
	Err     error  `json:"-"`
}

// Report is what Apply did, one result for each entry, in the order of the entries.
type Report struct {
	Results []Result `json:"results"`
}

// Errors that callers can test with errors.Is.
var (
	ErrSourceMissing = errors.New("source does not exist")
	ErrConflict      = errors.New("its place holds something else")
	ErrDrifted       = errors.New("it was changed since it was put in place")
	ErrMountFailed   = errors.New("mount failed")
	ErrBusy          = errors.New("in use")
	ErrUnknownUser   = errors.New("user does not exist")
	ErrUnknownGroup  = errors.New("group does not exist")
	ErrNoVolume      = errors.New("persistent volume is not mounted")
	ErrUnsafePath    = errors.New("path leads through a symlink that a user controls")
	ErrWrongKind     = errors.New("not the configured kind")
	ErrInvalidEntry  = errors.New("invalid entry")
	ErrMountPoint    = errors.New("another file system is mounted there")
	ErrNotSupported  = errors.New("not supported")
)
