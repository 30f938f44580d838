package dbus

import (
	"context"
	"errors"
	"fmt"

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

// errorNames is the one table that maps sentinels to D-Bus names and back. A sentinel
// gets the name of its first line; the names of its other lines only come in.
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
// text, which is never empty. Of nil it is the zero value. The name is that of the
// first in the chain of errors that has one; an error without is an internal one.
func InfoOf(err error) ErrorInfo {
	if err == nil {
		return ErrorInfo{}
	}
	name := nameOf(err)
	if name == "" {
		name = ourError + "Internal"
	}
	return ErrorInfo{Name: name, Message: err.Error()}
}

// nameOf goes through the chain, where an error that wraps several says first what
// it means, and then why.
func nameOf(err error) string {
	if e, ok := err.(*Error); ok && e.Name != "" { //nolint:errorlint // it goes through the chain itself
		return e.Name
	}
	if err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // as above
		return ourError + "Canceled"
	}
	for _, line := range errorNames() {
		if line.err == err { //nolint:errorlint // as above
			return line.name
		}
	}
	var wrapped []error
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		wrapped = []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		wrapped = e.Unwrap()
	}
	for _, err := range wrapped {
		if name := nameOf(err); err != nil && name != "" {
			return name
		}
	}
	return ""
}

// Err is the error that i describes, nil when there is none. It is the sentinel that
// the name stands for in the sense of errors.Is.
func (i ErrorInfo) Err() error {
	if i.Name == "" {
		return nil
	}
	return &Error{Name: i.Name, Message: i.Message}
}

// received turns what godbus returns from a call into an error of this package. A text that is not UTF-8 can not be sent.
func received(err error) error {
	var reply godbus.Error
	var unsent godbus.FormatError
	if errors.As(err, &unsent) {
		return fmt.Errorf("%w: a text that is not UTF-8", ErrInvalidArgs)
	}
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
