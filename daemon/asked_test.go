package daemon

import (
	"context"
	"errors"
	"os"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// What PID 1 has been asked to start it starts: who is canceled while it has not answered yet still has it stopped.
func TestACancelWhileTheServiceManagerIsAsked(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bustest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := asked(ctx, "a.service", func(_ *systemd.Conn, ctx context.Context, _, _ string, _ chan<- string) (int, error) {
		cancel()
		return 1, ctx.Err()
	})
	// There is nobody to stop it here.
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("nobody was asked to stop it: %v", err)
	}
	_, err = asked(ctx, "a.service", func(*systemd.Conn, context.Context, string, string, chan<- string) (int, error) {
		t.Error("it is asked in vain")
		return 1, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before it was asked: %v", err)
	}
}

// A bus that goes away tells nobody how a unit's job ended.
func TestABusThatGoesAwayWhileAUnitStarts(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bustest.Start(t))
	how, err := asked(t.Context(), "a.service", func(*systemd.Conn, context.Context, string, string, chan<- string) (int, error) {
		conn, err := dbus.Dial(t.Context())
		if err != nil {
			return 0, err
		}
		var pid uint32
		err = conn.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, "org.freedesktop.DBus").Store(&pid)
		if err != nil {
			return 0, err
		}
		bus, err := os.FindProcess(int(pid))
		if err != nil {
			return 0, err
		}
		return 1, bus.Kill()
	})
	if !errors.Is(err, dbus.ErrInternal) || how != "" {
		t.Errorf("it ended as %q, %v", how, err)
	}
}
