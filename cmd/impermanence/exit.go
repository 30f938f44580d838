package main

import (
	"errors"

	"github.com/impermanence/impermanence/dbus"
)

// The exit codes, which scripts may rely on.
const (
	exitDone        = 0 // all was done
	exitFailed      = 1 // nothing was done, or what was asked for failed
	exitUsage       = 2 // the command line itself is wrong; nothing was asked of the daemon
	exitPartly      = 3 // some was done, some not: the output says which
	exitUnreachable = 4 // the daemon does not answer; nothing is known to have been done
)

// exitCode returns the exit code for the error that a command ended with.
func exitCode(err error) int {
	var wrong *usageError
	var there *remoteError
	switch {
	case err == nil, errors.Is(err, errRemoteDone):
		return exitDone
	case errors.As(err, &there):
		return there.code
	case errors.As(err, &wrong):
		return exitUsage
	case errors.Is(err, errPartly):
		return exitPartly
	case errors.Is(err, dbus.ErrUnreachable):
		return exitUnreachable
	default:
		return exitFailed
	}
}

// errPartly is in the chain of an error after which some of what was asked for is done.
var errPartly = errors.New("partly done")

// usageError says what is wrong with a command line, and a command line that is right.
type usageError struct {
	err error
	try string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
