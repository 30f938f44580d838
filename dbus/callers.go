package dbus

import (
	"context"
	"fmt"
	"sync"

	godbus "github.com/godbus/dbus/v5"
)

// maxKnownCallers is how many users of connections are remembered.
const maxKnownCallers = 256

// callers knows who is behind the unique names on a bus, and who has left it.
type callers struct {
	conn *Conn

	knowing sync.Mutex
	users   map[string]uint32                 // a bus never gives a unique name twice: it can't become wrong
	asked   map[string]func() (uint32, error) // waits for the bus's answer

	mu    sync.Mutex // also held while a rule goes out
	leave map[string]map[*watch]struct{}
}

// watch is somebody who waits for a connection to leave the bus.
type watch struct{ left func() }

func newCallers(conn *Conn) *callers {
	return &callers{
		conn: conn, users: map[string]uint32{}, asked: map[string]func() (uint32, error){}, leave: map[string]map[*watch]struct{}{},
	}
}

// known is the user of a connection that the bus was asked about.
func (c *callers) known(sender string) (uint32, bool) {
	c.knowing.Lock()
	defer c.knowing.Unlock()
	uid, ok := c.users[sender]
	return uid, ok
}

// identify asks the bus for the user of a connection, once for all who want to know it.
func (c *callers) identify(ctx context.Context, sender string) (Caller, error) {
	c.knowing.Lock()
	uid, ok := c.users[sender]
	ask := c.asked[sender]
	if !ok && ask == nil {
		ask = sync.OnceValues(func() (uint32, error) { return c.ask(ctx, sender) })
		c.asked[sender] = ask
	}
	c.knowing.Unlock()
	if ok {
		return Caller{sender, uid}, nil
	}
	uid, err := ask()
	if err != nil {
		return Caller{}, fmt.Errorf("identify %s: %w: %w", sender, ErrAccessDenied, err)
	}
	return Caller{sender, uid}, nil
}

// ask asks the bus, and remembers the answer; another one is forgotten when there are many.
func (c *callers) ask(ctx context.Context, sender string) (uid uint32, err error) {
	err = c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, sender).Store(&uid)
	c.knowing.Lock()
	defer c.knowing.Unlock()
	delete(c.asked, sender)
	if err != nil {
		return 0, err
	}
	for another := range c.users {
		if len(c.users) < maxKnownCallers {
			break
		}
		delete(c.users, another)
	}
	c.users[sender] = uid
	return uid, nil
}

// whilePresent returns a context that ends when the connection leaves the bus.
func (c *callers) whilePresent(ctx context.Context, sender string) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{left: func() { cancel(fmt.Errorf("%s left the bus: %w", sender, ErrCanceled)) }}
	release := func() {
		c.remove(sender, w)
		cancel(nil)
	}
	if err := c.add(ctx, sender, w); err != nil {
		release()
		return nil, nil, err
	}
	return ctx, release, nil
}

// add asks the bus to tell when sender leaves, if nobody waits for that yet, and
// then looks whether it is still there. The rule goes out under the lock, so that it
// is in force before anyone looks.
func (c *callers) add(ctx context.Context, sender string, w *watch) error {
	c.mu.Lock()
	if c.leave[sender] == nil {
		c.leave[sender] = map[*watch]struct{}{}
		c.rule("AddMatch", sender)
	}
	c.leave[sender][w] = struct{}{}
	c.mu.Unlock()
	var present bool
	err := c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, sender).Store(&present)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("watch %s: %w", sender, cause)
	}
	if err != nil || !present {
		return fmt.Errorf("watch %s: %w: it left the bus", sender, ErrCanceled)
	}
	return nil
}

// remove takes back what add did.
func (c *callers) remove(sender string, w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leave[sender], w)
	if len(c.leave[sender]) > 0 {
		return
	}
	delete(c.leave, sender)
	c.rule("RemoveMatch", sender)
}

// rule adds or removes the rule that tells when sender leaves the bus. If the bus
// doesn't take it, a question of polkit's stays open longer than it need.
func (c *callers) rule(member, sender string) {
	rule := "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus'," +
		"member='NameOwnerChanged',arg0='" + sender + "',arg2=''"
	c.conn.BusObject().Go("org.freedesktop.DBus."+member, godbus.FlagNoReplyExpected, nil, rule)
}

// run tells those who wait, until the connection ends.
func (c *callers) run(signals <-chan *godbus.Signal) {
	for s := range signals {
		if s.Sender != busSender || s.Name != "org.freedesktop.DBus.NameOwnerChanged" || len(s.Body) != 3 {
			continue
		}
		name, _ := s.Body[0].(string)
		c.mu.Lock()
		for w := range c.leave[name] {
			w.left()
		}
		c.mu.Unlock()
	}
}
