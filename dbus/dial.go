package dbus

import (
	"context"

	godbus "github.com/godbus/dbus/v5"
)

// Conn is a connection to a bus.
type Conn = godbus.Conn

// Dial connects to the system bus, or to DBUS_SYSTEM_BUS_ADDRESS when that is set.
// The connection never negotiates the passing of file descriptors. When ctx ends the
// connection is closed.
func Dial(ctx context.Context) (*Conn, error) { return DialAddress(ctx, "") }

// DialAddress is [Dial] for the bus at address; an empty one means the system bus.
func DialAddress(ctx context.Context, address string) (*Conn, error) {
	return nil, ErrUnreachable
}
