package persist

import "errors"

// Errors that callers can test with errors.Is.
var (
	ErrSourceMissing = errors.New("source does not exist")
	ErrConflict      = errors.New("its place holds something else")
	ErrDrifted       = errors.New("it was changed since it was put in place")
	ErrMountFailed   = errors.New("mount failed")
	ErrBusy          = errors.New("in use")
	ErrUnknownUser   = errors.New("user does not exist")
	ErrUnknownGroup  = errors.New("group does not exist")
	ErrNoUsers       = errors.New("the root has no passwd file yet")
	ErrNoVolume      = errors.New("persistent volume is not mounted")
	ErrNotMounted    = errors.New("what its place is on is not mounted yet")
	ErrUnsafePath    = errors.New("path leads through a symlink that a user controls")
	ErrWrongKind     = errors.New("not of the configured kind")
	ErrInvalidEntry  = errors.New("invalid entry")
	ErrMountPoint    = errors.New("another file system is mounted there")
	ErrNotSupported  = errors.New("not supported")
)
