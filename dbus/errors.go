package dbus

import (
	"context"
	"errors"

	godbus "github.com/godbus/dbus/v5"
)

// The errors of the interface. A backend wraps one of them to choose the D-Bus name
// of an error reply; a client gets one back that errors.Is recognizes.
var (
	ErrNoSuchRoot           = errors.New("no such root")
	ErrNoSuchEntry          = errors.New("no such entry")
	ErrNoSuchJob            = errors.New("no such job")
	ErrRootExists           = errors.New("root exists")
	ErrInvalidName          = errors.New("invalid name")
	ErrBusy                 = errors.New("busy")
	ErrProtected            = errors.New("protected")
	ErrNotBtrfs             = errors.New("not a btrfs file system")
	ErrNoSpace              = errors.New("no space left")
	ErrCanceled             = errors.New("canceled")
	ErrNotCancelable        = errors.New("not cancelable")
	ErrSourceMissing        = errors.New("source missing")
	ErrTargetConflict       = errors.New("target conflict")
	ErrMountFailed          = errors.New("mount failed")
	ErrMountBusy            = errors.New("mount busy")
	ErrInvalidConfiguration = errors.New("invalid configuration")
	ErrStateChanged         = errors.New("state changed")
	ErrInternal             = errors.New("internal error")

	// Those that D-Bus itself names.
	ErrInvalidArgs                      = errors.New("invalid arguments")
	ErrAccessDenied                     = errors.New("access denied")
	ErrInteractiveAuthorizationRequired = errors.New("interactive authorization required")
	ErrNotSupported                     = errors.New("not supported")
	ErrLimitsExceeded                   = errors.New("limits exceeded")
	ErrUnknownObject                    = errors.New("unknown object")
	ErrUnknownInterface                 = errors.New("unknown interface")
	ErrUnknownMethod                    = errors.New("unknown method")
	ErrUnknownProperty                  = errors.New("unknown property")
	ErrPropertyReadOnly                 = errors.New("property is read-only")

	// ErrUnreachable means that there is no bus, no daemon on it, or no answer.
	ErrUnreachable = errors.New("daemon out of reach")
)

const (
	ourError   = BusName + ".Error."
	theirError = "org.freedesktop.DBus.Error."
)

// errorName is one line of the table of errors.
type errorName struct {
	err  error
	name string
}

// errorNames is the one table that maps sentinels to D-Bus names and back. An error
// gets the name of the first line that it is; a name stands for the first line that
// has it. The lines after the first for one sentinel are names that only come in.
func errorNames() []errorName {
	return []errorName{
		{ErrNoSuchRoot, ourError + "NoSuchRoot"},
		{ErrNoSuchEntry, ourError + "NoSuchEntry"},
		{ErrNoSuchJob, ourError + "NoSuchJob"},
		{ErrRootExists, ourError + "RootExists"},
		{ErrInvalidName, ourError + "InvalidName"},
		{ErrBusy, ourError + "Busy"},
		{ErrProtected, ourError + "Protected"},
		{ErrNotBtrfs, ourError + "NotBtrfs"},
		{ErrNoSpace, ourError + "NoSpace"},
		{ErrCanceled, ourError + "Canceled"},
		{ErrNotCancelable, ourError + "NotCancelable"},
		{ErrSourceMissing, ourError + "SourceMissing"},
		{ErrTargetConflict, ourError + "TargetConflict"},
		{ErrMountFailed, ourError + "MountFailed"},
		{ErrMountBusy, ourError + "MountBusy"},
		{ErrInvalidConfiguration, ourError + "InvalidConfiguration"},
		{ErrStateChanged, ourError + "StateChanged"},
		{ErrInternal, ourError + "Internal"},
		{ErrInvalidArgs, theirError + "InvalidArgs"},
		{ErrAccessDenied, theirError + "AccessDenied"},
		{ErrInteractiveAuthorizationRequired, theirError + "InteractiveAuthorizationRequired"},
		{ErrNotSupported, theirError + "NotSupported"},
		{ErrLimitsExceeded, theirError + "LimitsExceeded"},
		{ErrUnknownObject, theirError + "UnknownObject"},
		{ErrUnknownInterface, theirError + "UnknownInterface"},
		{ErrUnknownMethod, theirError + "UnknownMethod"},
		{ErrUnknownProperty, theirError + "UnknownProperty"},
		{ErrPropertyReadOnly, theirError + "PropertyReadOnly"},
		{ErrUnreachable, theirError + "ServiceUnknown"},
		{ErrUnreachable, theirError + "NameHasNoOwner"},
		{ErrUnreachable, theirError + "NoReply"},
		{ErrUnreachable, theirError + "Timeout"},
		{ErrUnreachable, theirError + "TimedOut"},
		{ErrUnreachable, theirError + "Disconnected"},
		{ErrUnreachable, theirError + "Spawn.ChildExited"},
		{ErrUnreachable, theirError + "Spawn.ExecFailed"},
		{ErrUnreachable, theirError + "Spawn.Failed"},
		{ErrUnreachable, "org.freedesktop.systemd1.NoSuchUnit"},
		{ErrUnreachable, "org.freedesktop.systemd1.UnitMasked"},
	}
}

// Error is an error as the bus carries it. It is the sentinel that its name stands
// for in the sense of errors.Is.
type Error struct {
	Name    string // D-Bus error name
	Message string
}

// Error returns the text, or the name where there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Message
}

// Is tells whether target is the sentinel that the name stands for.
func (e *Error) Is(target error) bool {
	for _, line := range errorNames() {
		if line.name == e.Name {
			return line.err == target
		}
	}
	return false
}

// InfoOf is the [ErrorInfo] of an error: the name that it has on the bus, and its
// text, which is never empty. Of nil it is the zero value. An error that wraps no
// sentinel of this package is an internal one.
func InfoOf(err error) ErrorInfo {
	if err == nil {
		return ErrorInfo{}
	}
	var e *Error
	if errors.As(err, &e) && e.Name != "" {
		return ErrorInfo{Name: e.Name, Message: err.Error()}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ErrorInfo{Name: ourError + "Canceled", Message: err.Error()}
	}
	for _, line := range errorNames() {
		if errors.Is(err, line.err) {
			return ErrorInfo{Name: line.name, Message: err.Error()}
		}
	}
	return ErrorInfo{Name: ourError + "Internal", Message: err.Error()}
}

// Err is the error that i describes, nil when there is none. It is the sentinel that
// the name stands for in the sense of errors.Is.
func (i ErrorInfo) Err() error {
	if i.Name == "" {
		return nil
	}
	return &Error{Name: i.Name, Message: i.Message}
}

// received turns what godbus returns from a call into an error of this package.
func received(err error) error {
	var reply godbus.Error
	if !errors.As(err, &reply) {
		if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return &Error{Name: theirError + "Disconnected", Message: err.Error()}
	}
	e := &Error{Name: reply.Name}
	if len(reply.Body) > 0 {
		e.Message, _ = reply.Body[0].(string)
	}
	return e
}
