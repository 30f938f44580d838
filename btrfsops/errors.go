package btrfsops

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Errors that callers act on; test for them with errors.Is.
var (
	ErrNotBtrfs       = errors.New("not a btrfs file system")
	ErrDiskMissing    = errors.New("a disk of the file system is missing")
	ErrNotSubvolume   = errors.New("not a subvolume")
	ErrNoRoot         = errors.New("there is no root subvolume")
	ErrNoTemplate     = errors.New("there is no template subvolume")
	ErrNoSuchRoot     = errors.New("no such old root")
	ErrRootExists     = errors.New("something of this name is there")
	ErrRootMounted    = errors.New("the root is mounted")
	ErrOtherRoot      = errors.New("this boot mounts another subvolume than the root")
	ErrPersistentRoot = errors.New("a persistent volume lies inside the root")
	ErrProtected      = errors.New("protected")
	ErrNoSpace        = errors.New("no space left on the file system")
	ErrReadOnly       = errors.New("the file system is read-only")
	ErrInvalidName    = errors.New("invalid name")
	ErrBusy           = errors.New("busy")
	ErrStateChanged   = errors.New("changed meanwhile")
	ErrUncleaned      = errors.New("the space of what was deleted is not free yet")
)

// errnos translates, once and here, what the kernel says into what callers act on. What has no row stays as it is.
var errnos = map[unix.Errno]error{
	unix.ENOSPC:  ErrNoSpace,
	unix.EDQUOT:  ErrNoSpace,
	unix.EROFS:   ErrReadOnly,
	unix.ENOTTY:  ErrNotBtrfs,
	unix.EBUSY:   ErrBusy,
	unix.ETXTBSY: ErrBusy,
}

// sysError is a failed system call: what was done to what, and both the sentinel and the errno.
type sysError struct {
	op, object string
	sentinel   error // nil when the errno has no row in errnos
	errno      error
}

func (e *sysError) Error() string { return fmt.Sprintf("%s %q: %v", e.op, e.object, e.errno) }

func (e *sysError) Unwrap() []error {
	if e.sentinel == nil {
		return []error{e.errno}
	}
	return []error{e.sentinel, e.errno}
}

// wrap makes the error of a system call say what was done to what. A nil err stays nil.
func wrap(op, object string, err error) error {
	if err == nil {
		return nil
	}
	e := &sysError{op: op, object: object, errno: err}
	var errno unix.Errno
	if errors.As(err, &errno) {
		e.sentinel = errnos[errno]
	}
	return e
}

// ProtectReason says why an old root or snapshot may not be deleted now.
type ProtectReason string

// The reasons, in the order in which they are reported.
const (
	ProtectBooted     ProtectReason = "booted"     // it is the root that runs
	ProtectDefault    ProtectReason = "default"    // it is the default subvolume of the file system
	ProtectNext       ProtectReason = "next"       // the next boot was asked to boot it
	ProtectPinned     ProtectReason = "pinned"     // somebody pinned it
	ProtectInUse      ProtectReason = "in-use"     // it is mounted somewhere
	ProtectNewest     ProtectReason = "newest"     // it is the newest old root
	ProtectTemplate   ProtectReason = "template"   // it is, or holds, the template
	ProtectPersistent ProtectReason = "persistent" // it is, or holds, a persistent volume or another configured subvolume
	ProtectEntry      ProtectReason = "entry"      // an entry that was added while it ran is, or may be, still to be taken from it
)

// ProtectedError is ErrProtected with the reasons.
type ProtectedError struct {
	ID      SubvolumeID
	Name    string
	Reasons []ProtectReason
}

func (e *ProtectedError) Error() string {
	words := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		words[i] = string(r)
	}
	return fmt.Sprintf("%q (subvolume %d) is protected: %s", e.Name, e.ID, strings.Join(words, ", "))
}

// Is makes errors.Is(err, ErrProtected) true.
func (e *ProtectedError) Is(target error) bool { return target == ErrProtected }
