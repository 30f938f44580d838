package dbus

import "errors"

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

// InfoOf is the [ErrorInfo] of an error: the name that it has on the bus, and its
// text. Of nil it is the zero value.
func InfoOf(err error) ErrorInfo { return ErrorInfo{} }

// Err is the error that i describes, nil when there is none. It is the sentinel that
// the name stands for in the sense of errors.Is.
func (i ErrorInfo) Err() error { return nil }
