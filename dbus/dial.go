package dbus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// Conn is a connection to a bus.
type Conn = godbus.Conn

// Variant is a value with its type, as properties of the service manager's units are given.
type Variant = godbus.Variant

// MakeVariant is the variant of a value.
func MakeVariant(v any) Variant { return godbus.MakeVariant(v) }

// systemBusAddress is where the system bus is unless DBUS_SYSTEM_BUS_ADDRESS says
// something else: D-Bus Specification, "Well-known Message Bus Instances".
const systemBusAddress = "unix:path=/var/run/dbus/system_bus_socket"

// Dial connects to the system bus, or to DBUS_SYSTEM_BUS_ADDRESS when that is set.
// The connection never negotiates the passing of file descriptors, and answers no
// calls. When ctx ends the connection is closed. A bus that does not answer within
// 25 seconds is [ErrUnreachable].
func Dial(ctx context.Context) (*Conn, error) { return DialAddress(ctx, "") }

// DialAddress is [Dial] for the bus at address, a list of addresses of Unix sockets
// of which the first that answers is taken; an empty one means the system bus.
func DialAddress(ctx context.Context, address string) (*Conn, error) {
	t, err := open(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	return authenticate(ctx, t)
}

// open connects to the socket of a bus; calls is what [transport] wants.
func open(ctx context.Context, address string, calls func(*header, []byte)) (*transport, error) {
	if address == "" {
		address = os.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	}
	if address == "" {
		address = systemBusAddress
	}
	socket, err := dialSocket(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to bus %q: %w: %w", address, ErrUnreachable, err)
	}
	return newTransport(socket, calls), nil
}

// authenticate greets the bus. When ctx ends, also later, the connection is closed.
func authenticate(ctx context.Context, t *transport) (*Conn, error) {
	t.greeting = newGreeting()
	conn, err := godbus.NewConn(t,
		godbus.WithContext(ctx),
		godbus.WithSerialGenerator(t),
		godbus.WithSignalHandler(godbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("greet bus: %w: %w", ErrUnreachable, err), t.Close())
	}
	if err := greet(conn, t); err != nil {
		_ = conn.Close() // greet has closed its socket already when nobody answered
		return nil, fmt.Errorf("greet bus: %w: %w", ErrUnreachable, err)
	}
	return conn, nil
}

// answerTime is how long a bus may take to answer: as long as libdbus and sd-bus wait for an answer of anybody. Where
// systemd listens for a bus that hangs, the connection is made and nothing ever comes.
const answerTime = 25 * time.Second

// errNoAnswer is about a bus that does not answer in answerTime.
var errNoAnswer = fmt.Errorf("no answer within %s", answerTime)

// greet says who we are. A bus that does not answer in time is hung up on.
func greet(conn *Conn, t *transport) error {
	limit := time.AfterFunc(answerTime, func() { _ = t.Close() })
	err := conn.Auth(nil)
	if err == nil {
		err = conn.Hello()
	}
	if !limit.Stop() {
		return errNoAnswer
	}
	select {
	case refused := <-t.greeting.refused:
		return refused
	default:
		return err
	}
}

// dialSocket tries the addresses of a list in their order.
func dialSocket(ctx context.Context, list string) (net.Conn, error) {
	addresses, err := parseAddresses(list)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	for _, a := range addresses {
		conn, dialErr := dialer.DialContext(ctx, "unix", a)
		if dialErr == nil {
			return conn, nil
		}
		err = errors.Join(err, dialErr)
	}
	return nil, err
}

// errNoUnixSocket is about a list of addresses that has none that is usable.
var errNoUnixSocket = errors.New("no Unix socket in the address")

// parseAddresses returns the names of the Unix sockets in a list of bus addresses,
// as package net writes them: "@" stands for the abstract name space. Addresses of
// other transports are left out: D-Bus Specification, "Server Addresses".
func parseAddresses(list string) ([]string, error) {
	var names []string
	for address := range strings.SplitSeq(list, ";") {
		transport, options, ok := strings.Cut(address, ":")
		if !ok || transport != "unix" {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			key, value, _ := strings.Cut(option, "=")
			value, err := url.PathUnescape(value)
			if err != nil {
				return nil, fmt.Errorf("address %q: %w", address, err)
			}
			switch {
			case value == "":
			case key == "path":
				names = append(names, value)
			case key == "abstract":
				names = append(names, "@"+value)
			}
		}
	}
	if names == nil {
		return nil, errNoUnixSocket
	}
	return names, nil
}
