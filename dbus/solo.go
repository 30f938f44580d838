package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ErrPeerLeft ends a server that serves one process when that process hangs up.
var ErrPeerLeft = errors.New("the process that was served has hung up")

// The unique names on a connection without a bus.
const (
	serverName = ":1.0"
	clientName = ":1.1"
)

// solo is the link to one process, over a connection without a bus. To a client it looks like a bus that nobody else is
// on: it is greeted, its calls get their sender, and what it asks the bus itself is answered here. Every signal is sent.
type solo struct {
	transport *transport
	uid       uint32
	receive   func(*header, []byte)
	gone      context.Context
	hangUp    context.CancelFunc
}

// newSolo is the link to the process at the other end of conn, which has this one's user: it was given the connection by
// whoever started both.
func newSolo(ctx context.Context, conn io.ReadWriteCloser, receive func(*header, []byte)) *solo {
	p := &solo{uid: uint32(os.Geteuid()), receive: receive}
	p.gone, p.hangUp = context.WithCancel(ctx)
	p.transport = newTransport(conn, p.sort)
	p.transport.sender = serverName
	return p
}

// own has no name to take, and begins to read.
func (p *solo) own(context.Context) error {
	go p.run()
	return nil
}

// run lets the process authenticate, and takes its calls until it hangs up.
func (p *solo) run() {
	defer p.hangUp()
	if p.authenticate() == nil {
		_, _ = io.Copy(io.Discard, p.transport) // calls are taken out of the stream; whatever ends it, it has ended
	}
}

// authenticate is the side of a server in the authentication: D-Bus Specification, "Authentication Protocol". Whoever
// has the connection is believed, so any EXTERNAL will do.
func (p *solo) authenticate() error {
	if _, err := p.transport.in.Discard(1); err != nil { // the byte that carries credentials
		return err
	}
	for {
		line, err := p.transport.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		answer := "ERROR\r\n"
		switch words := strings.Fields(string(line)); {
		case len(words) == 1 && words[0] == "BEGIN":
			p.transport.authenticated = true
			return nil
		case len(words) == 2 && words[0] == "AUTH" && words[1] == "EXTERNAL":
			answer = "DATA\r\n" // who are you?
		case len(words) > 0 && words[0] == "DATA", len(words) > 2 && words[0] == "AUTH" && words[1] == "EXTERNAL":
			answer = "OK 00000000000000000000000000000000\r\n" // a bus's id: there is no bus
		case len(words) > 0 && words[0] == "AUTH":
			answer = "REJECTED EXTERNAL\r\n"
		}
		if _, err := io.WriteString(p.transport.conn, answer); err != nil {
			return err
		}
	}
}

// sort gives a call its sender, and answers it when it is for the bus.
func (p *solo) sort(h *header, frame []byte) {
	h.sender = clientName
	if h.destination != busSender {
		p.receive(h, frame)
		return
	}
	if answer := p.answer(h, frame); h.wantsReply() {
		_ = p.transport.send(answer) // an error means that the process has hung up
	}
}

// answer is what the bus itself answers: to what a client of ours asks it.
func (p *solo) answer(h *header, frame []byte) message {
	text := func(s string) message {
		m := replyTo(h, body{"s", func(e *encoder) { e.string(s) }})
		m.sender = busSender
		return m
	}
	switch h.member {
	case "Hello":
		return text(clientName)
	case "GetNameOwner":
		if m, err := decode(frame); err == nil && len(m.Body) == 1 && m.Body[0] == BusName {
			return text(serverName)
		}
		return errorTo(h, &Error{Name: theirError + "NameHasNoOwner", Message: "there is no bus: only " + BusName + " is here"})
	case "AddMatch", "RemoveMatch":
		return replyTo(h, body{})
	default:
		return errorTo(h, fmt.Errorf("method %q: %w: there is no bus", h.member, ErrUnknownMethod))
	}
}

func (p *solo) release(context.Context) error { return nil }

func (p *solo) name() string { return serverName }

func (p *solo) known(string) (uint32, bool) { return p.uid, true }

func (p *solo) identify(_ context.Context, sender string) (Caller, error) {
	return Caller{sender, p.uid}, nil
}

func (p *solo) whilePresent(ctx context.Context, sender string) (context.Context, func(), error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.gone, func() { cancel(fmt.Errorf("%s left: %w", sender, ErrCanceled)) })
	return ctx, func() { stop(); cancel(nil) }, nil
}

func (p *solo) ping(ctx context.Context) error { return ctx.Err() }

func (p *solo) lost() <-chan struct{} { return p.gone.Done() }

func (p *solo) reason() error { return ErrPeerLeft }

func (p *solo) close() error { return p.transport.Close() }

// RootAlone is the [Authorizer] where polkit can't be asked: root may do everything, nobody else anything.
type RootAlone struct{}

// Authorize implements [Authorizer].
func (RootAlone) Authorize(_ context.Context, c Caller, action string, _ map[string]string, _ bool) error {
	if c.UID != 0 {
		return fmt.Errorf("authorize %s: %w: without a bus only root may", action, ErrAccessDenied)
	}
	return nil
}

// Pipes is a connection made of what is read from and what is written to, such as standard input and output.
type Pipes struct {
	io.ReadCloser
	Out io.WriteCloser
}

// Write writes to Out.
func (s Pipes) Write(p []byte) (int, error) { return s.Out.Write(p) }

// Close closes both.
func (s Pipes) Close() error { return errors.Join(s.Out.Close(), s.ReadCloser.Close()) }
