package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/impermanence/impermanence/dbus"
)

func TestEveryErrorOfTheDaemonEndsWithWhatToType(t *testing.T) {
	a := &app{args: []string{"snapshot", "--label", "it's new"}}
	for _, sentinel := range []error{
		dbus.ErrNoSuchRoot, dbus.ErrNoSuchEntry, dbus.ErrNoSuchJob, dbus.ErrRootExists, dbus.ErrInvalidName, dbus.ErrBusy,
		dbus.ErrProtected, dbus.ErrNotBtrfs, dbus.ErrNoSpace, dbus.ErrCanceled, dbus.ErrNotCancelable, dbus.ErrSourceMissing,
		dbus.ErrTargetConflict, dbus.ErrMountFailed, dbus.ErrMountBusy, dbus.ErrInvalidConfiguration, dbus.ErrStateChanged,
		dbus.ErrInternal, dbus.ErrInvalidArgs, dbus.ErrAccessDenied, dbus.ErrInteractiveAuthorizationRequired,
		dbus.ErrNotSupported, dbus.ErrLimitsExceeded, dbus.ErrUnknownObject, dbus.ErrUnknownInterface, dbus.ErrUnknownMethod,
		dbus.ErrUnknownProperty, dbus.ErrPropertyReadOnly, dbus.ErrUnreachable,
	} {
		if a.advice(fmt.Errorf("take a snapshot: %w", sentinel)) == "" {
			t.Errorf("%v: no advice", sentinel)
		}
	}
	want := `sudo impermanence snapshot --label 'it'\''s new'`
	if got := a.advice(dbus.ErrAccessDenied); got != want {
		t.Errorf("access denied: advised %q, want %q", got, want)
	}
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("any"), exitFailed},
		{fmt.Errorf("prune: %w", dbus.ErrBusy), exitFailed},
		{&usageError{errors.New("unknown command"), ""}, exitUsage},
		{fmt.Errorf("prune: %w: %w", errPartly, dbus.ErrNoSpace), exitPartly},
		{fmt.Errorf("connect to the bus: %w", dbus.ErrUnreachable), exitUnreachable},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"new\nline": `$'new` + "\n" + `line'`, "caf\xe9": "$'caf\xe9'", "\x1b": "$'\x1b'", "it's\x7f\\": "$'it\\'s\x7f\\\\'", "größe": "'größe'",
		"": "''", "/var/log": "/var/log", "a b": "'a b'", "$HOME": "'$HOME'", "it's": `'it'\''s'`, "20261123T075400Z-257": "20261123T075400Z-257",
	} {
		if got := quote(word); got != want {
			t.Errorf("quote(%q) = %s, want %s", word, got, want)
		}
	}
}
