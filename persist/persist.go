package persist

import "cmp"

// DefaultLock is where processes that copy files keep out of each other's way: where only root may take a lock.
const DefaultLock = "/run/impermanence/copies.lock"

// Options say where and how to work. NewOptions makes them; the zero value is no root.
type Options struct {
	sysroot   string
	ephemeral []string
	// MountTable is where libmount keeps its table, utab, as seen now; empty: /run/mount.
	MountTable string
	// Lock is a file that is locked while a copied file is copied one way or the other, by whoever does so; empty: DefaultLock. Where it can't
	// be made, as where its directory is not there, nobody else does.
	Lock string
	// Later are mount points at which something is mounted later. An entry with its place below, and no source yet, is left as it is:
	// ErrNotMounted.
	Later []string
	// Former says where what an entry that is to be adopted is made from can be read: a root, and the path in it; no root: in
	// the place itself. It is asked only for one that has no source yet, which an error leaves as it is. nil: always the place.
	Former func(e Entry) (root, path string, err error)
	// Template, when set, says where what fresh roots are copies of can be read, by ephemeral mount point. What is in a place
	// as it is there hides nothing that would be lost. It is asked for once, when a place has something else than what its source
	// was made from.
	Template func() map[string]string
	// Running tells that programs run that may be at work in places. Nothing is put over what one has open for writing or works in: its entry
	// fails with a WritersError.
	Running bool
	// KeepGoing applies what is right when some entries are invalid (a user that does not exist). Without it nothing is
	// changed then.
	KeepGoing bool
	// Done, when set, is called after each entry with its result.
	Done func(Result)
}

// NewOptions returns options for the root that is being booted. sysroot is the directory at which it is mounted: "/", which is also meant by none, or,
// in an initrd, /sysroot. ephemeral are the mount points whose root is fresh at each boot: a directory of one of them is no volume, nor is one of sysroot.
func NewOptions(sysroot string, ephemeral []string) Options {
	return Options{sysroot: cmp.Or(sysroot, "/"), ephemeral: ephemeral}
}

// Status is how an entry stands. Entry has its final paths.
type Status struct {
	Entry  Entry
	Method Method // how it is put in place: Auto only where that could not be decided
	State  State
	Err    error // why it is Conflict, Drifted or Failed
}

// Result is what Apply did to one entry.
type Result struct {
	Target  string `json:"target"`
	Source  string `json:"source"`
	Kind    Kind   `json:"kind"`
	Method  Method `json:"method"`
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
