package dbus

import (
	"context"
	"fmt"

	godbus "github.com/godbus/dbus/v5"
)

// link is the way to those who call the server: a bus, or one process without a bus.
type link interface {
	// own takes the name of the daemon, which nobody else may have.
	own(ctx context.Context) error
	// release gives it back. What was sent to the daemon before has arrived when it returns.
	release(ctx context.Context) error
	// name is who the server itself is when it calls.
	name() string
	// identify tells who is behind the sender of a call.
	identify(ctx context.Context, sender string) (Caller, error)
	// known is the user behind the sender, unless somebody would have to be asked.
	known(sender string) (uid uint32, known bool)
	// whilePresent returns a context that ends when the sender leaves.
	whilePresent(ctx context.Context, sender string) (context.Context, func(), error)
	// ping sends a call to the server itself.
	ping(ctx context.Context) error
	// lost is closed when nobody can call any more; reason says why.
	lost() <-chan struct{}
	reason() error
	close() error
}

// bus is the link to all that are on a bus.
type bus struct {
	*callers
	conn   *Conn
	unique string
}

// joinBus greets the bus at address. From then on calls to the unique name arrive at receive.
func joinBus(ctx context.Context, address string, receive func(*header, []byte)) (*bus, *transport, error) {
	t, err := open(ctx, address, receive)
	if err != nil {
		return nil, nil, err
	}
	conn, err := authenticate(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	b := &bus{newCallers(conn), conn, conn.Names()[0]}
	signals := make(chan *godbus.Signal, 16)
	conn.Signal(signals)
	go b.run(signals)
	return b, t, nil
}

func (b *bus) own(ctx context.Context) error {
	var reply uint32
	limited, cancel := context.WithTimeoutCause(ctx, answerTime, errNoAnswer)
	defer cancel()
	err := b.conn.BusObject().CallWithContext(limited, "org.freedesktop.DBus.RequestName", 0,
		BusName, uint32(godbus.NameFlagDoNotQueue)).Store(&reply)
	if cause := context.Cause(limited); err != nil && cause != nil {
		return fmt.Errorf("own %s: %w: %w", BusName, ErrUnreachable, cause)
	}
	if err != nil {
		return fmt.Errorf("own %s: %w", BusName, received(err))
	}
	if reply != uint32(godbus.RequestNameReplyPrimaryOwner) {
		return fmt.Errorf("own %s: %w: another process owns it", BusName, ErrBusy)
	}
	return nil
}

// release is answered after all that was sent to the name before.
func (b *bus) release(ctx context.Context) error {
	err := b.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ReleaseName", 0, BusName).Err
	if err != nil {
		return fmt.Errorf("release %s: %w", BusName, received(err))
	}
	return nil
}

func (b *bus) ping(ctx context.Context) error {
	return b.conn.Object(b.unique, ManagerPath).CallWithContext(ctx, "org.freedesktop.DBus.Peer.Ping", 0).Err
}

func (b *bus) name() string { return b.unique }

func (b *bus) lost() <-chan struct{} { return b.conn.Context().Done() }

func (b *bus) reason() error {
	return fmt.Errorf("serve %s: %w: the bus closed the connection", BusName, ErrUnreachable)
}

func (b *bus) close() error { return b.conn.Close() }
