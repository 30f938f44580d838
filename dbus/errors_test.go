package dbus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/impermanence/impermanence/dbus"
)

func TestInfoOf(t *testing.T) {
	remote := &dbus.Error{Name: "org.freedesktop.DBus.Error.ServiceUnknown", Message: "gone"}
	for want, err := range map[string]error{
		"":                                  nil,
		"org.impermanence1.Error.Internal":  errors.New("anything"),
		"org.impermanence1.Error.Busy":      fmt.Errorf("prune: %w: job 3", dbus.ErrBusy),
		"org.impermanence1.Error.Protected": fmt.Errorf("delete: %w", errors.Join(errors.New("x"), dbus.ErrProtected, dbus.ErrBusy)),
		"org.freedesktop.DBus.Error.AccessDenied":   fmt.Errorf("ask: %w: %w", dbus.ErrAccessDenied, remote),
		"org.freedesktop.DBus.Error.ServiceUnknown": fmt.Errorf("ask: %w", remote),
		"org.impermanence1.Error.Canceled":          fmt.Errorf("wait: %w", context.Canceled),
	} {
		info := dbus.InfoOf(err)
		if info.Name != want {
			t.Errorf("%v has the name %q, want %q", err, info.Name, want)
		}
		if err != nil && info.Message != err.Error() {
			t.Errorf("%v has the text %q", err, info.Message)
		}
	}
}

// TestTableMapsBothWays holds that each sentinel comes back as itself.
func TestTableMapsBothWays(t *testing.T) {
	for _, err := range dbus.Sentinels() {
		back := dbus.InfoOf(err).Err()
		for _, other := range dbus.Sentinels() {
			if errors.Is(back, other) != (other == err) { //nolint:errorlint // the sentinels themselves
				t.Errorf("%v comes back as %v", err, other)
			}
		}
	}
	if errors.Is(dbus.ErrorInfo{Name: "org.example.Unknown"}.Err(), dbus.ErrInternal) {
		t.Error("a name that nobody knows is an internal error")
	}
}
