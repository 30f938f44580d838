package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// sentinels says, once and here, by what name an error of the mechanisms is known on the bus. The first row that fits
// counts.
var sentinels = []struct{ from, to error }{
	{btrfsops.ErrProtected, dbus.ErrProtected},
	{btrfsops.ErrStateChanged, dbus.ErrStateChanged},
	{btrfsops.ErrNoSuchRoot, dbus.ErrNoSuchRoot},
	{btrfsops.ErrNoRoot, dbus.ErrNoSuchRoot},
	{btrfsops.ErrRootExists, dbus.ErrRootExists},
	{btrfsops.ErrNotBtrfs, dbus.ErrNotBtrfs},
	{btrfsops.ErrNotSubvolume, dbus.ErrNotBtrfs},
	{btrfsops.ErrNoSpace, dbus.ErrNoSpace},
	{btrfsops.ErrReadOnly, dbus.ErrNotSupported},
	{btrfsops.ErrInvalidName, dbus.ErrInvalidName},
	{btrfsops.ErrBusy, dbus.ErrBusy},
	{btrfsops.ErrUncleaned, dbus.ErrBusy},

	{persist.ErrSourceMissing, dbus.ErrSourceMissing},
	{persist.ErrNoVolume, dbus.ErrSourceMissing},
	{persist.ErrConflict, dbus.ErrTargetConflict},
	{persist.ErrWrongKind, dbus.ErrTargetConflict},
	{persist.ErrMountPoint, dbus.ErrTargetConflict},
	{persist.ErrDrifted, dbus.ErrStateChanged},
	{persist.ErrMountFailed, dbus.ErrMountFailed},
	{persist.ErrBusy, dbus.ErrMountBusy},
	{persist.ErrUnknownUser, dbus.ErrInvalidConfiguration},
	{persist.ErrUnknownGroup, dbus.ErrInvalidConfiguration},
	{persist.ErrUnsafePath, dbus.ErrInvalidConfiguration},
	{persist.ErrInvalidEntry, dbus.ErrInvalidConfiguration},
	{persist.ErrNotSupported, dbus.ErrNotSupported},

	{change.ErrInvalid, dbus.ErrInvalidArgs},
	{change.ErrNoSuchEntry, dbus.ErrNoSuchEntry},
	{change.ErrConfigured, dbus.ErrNotSupported},
	{change.ErrConfiguration, dbus.ErrInvalidConfiguration},

	{jobs.ErrNoSuchJob, dbus.ErrNoSuchJob},
	{jobs.ErrNotCancelable, dbus.ErrNotCancelable},
	{jobs.ErrBusy, dbus.ErrBusy},
	{jobs.ErrStopping, dbus.ErrBusy},
	{jobs.ErrInterrupted, dbus.ErrCanceled},
	{jobs.ErrTooMany, dbus.ErrLimitsExceeded},
	{context.Canceled, dbus.ErrCanceled},
	{context.DeadlineExceeded, dbus.ErrCanceled},
}

// busError is an error with the name that it has on the bus. It reads like the error itself.
type busError struct {
	error
	name error
}

// Unwrap gives the name first: it is the one that the bus goes by.
func (e *busError) Unwrap() []error { return []error{e.name, e.error} }

// named makes an error with a name on the bus.
func named(name error, format string, args ...any) error {
	return &busError{fmt.Errorf(format, args...), name}
}

// toBus gives an error its name on the bus. One that has a name already keeps it, and one that no row of the table fits
// stays as it is: an internal error.
func toBus(err error) error {
	if err == nil {
		return nil
	}
	if already := (*busError)(nil); errors.As(err, &already) {
		return err
	}
	for _, s := range sentinels {
		if errors.Is(err, s.from) {
			return &busError{err, s.to}
		}
	}
	return err
}

// errorInfo is an error as a property of the bus shows it.
func errorInfo(err error) dbus.ErrorInfo { return dbus.InfoOf(toBus(err)) }
