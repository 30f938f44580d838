package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ServerConfig is what a [Server] is made of.
type ServerConfig struct {
	// Address is the bus to serve on; empty for the system bus.
	Address string
	// Peer is a connection to the one process to serve, instead of a bus; see [Pipes].
	Peer io.ReadWriteCloser
	// Backend knows and does what the server is asked for.
	Backend Backend
	// Authorizer decides who may do what; see [NewPolkit].
	Authorizer Authorizer
	// LogControl serves org.freedesktop.LogControl1; nil leaves that interface out.
	LogControl LogControl
	// StreamDir is where the sockets of [Stream]s are made; it is made when it is needed,
	// in a directory that everybody may enter. Empty: there are none.
	StreamDir string
	// Log tells of what goes wrong, and who did what; nil discards it.
	Log Log
}

// Server serves a [Backend] on the bus as org.impermanence1. It runs once.
type Server struct {
	config    ServerConfig
	faces     *faces
	publisher *publisher
	ready     chan struct{}

	// Set before up is closed, which is before the first call is looked at.
	up        chan struct{}
	link      link
	transport *transport

	calls    *quota[string] // by connection
	accounts *accounts
	parked   *quota[uint32] // by user
	turns    *turns         // of long answers
	refusals *refusals
	streams  *streams
	work     context.Context
	stopping context.Context // ends when those who wait are sent away
	sendAway context.CancelCauseFunc
}

// NewServer returns a server that does nothing before [Server.Run].
func NewServer(config ServerConfig) *Server {
	if config.Log == nil {
		config.Log = silence{}
	}
	s := &Server{
		config:   config,
		ready:    make(chan struct{}),
		up:       make(chan struct{}),
		calls:    newQuota[string]("calls", maxCallsPerSender, 0),
		accounts: newAccounts(),
		parked:   newQuota[uint32]("calls", maxParkedPerUser, 0),
		turns:    newTurns(),
		streams:  newStreams(config.StreamDir),
	}
	s.refusals = newRefusals(s.sendErrors)
	s.faces = newFaces()
	s.publisher = newPublisher(config.Backend, s.faces, config.Log, func(m ...message) error { return s.transport.send(m...) })
	return s
}

// String names the task.
func (s *Server) String() string { return "D-Bus server" }

// Ready is closed when the objects are there and the name is owned.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Changed says that things of these kinds may have changed. The server asks the
// backend for them, compares with what it has last sent, and tells the bus what is
// different. It returns at once and may be called from anywhere, also before Run. A
// call that makes the backend say so is answered after the bus was told.
func (s *Server) Changed(what Change) { s.publisher.changed(what) }

// Run connects to the bus, exports the objects, owns the name and serves until ctx
// ends; then it releases the name, finishes what is in flight, and returns nil. It
// returns an error when the bus can't be reached, the name is taken, or the
// connection is lost: [ErrPeerLeft] when there was no bus.
func (s *Server) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if err := s.connect(work); err != nil {
		return err
	}
	defer s.link.close()
	if err := s.link.own(work); err != nil {
		return err
	}
	close(s.ready)
	go s.publisher.run(work)
	select {
	case <-ctx.Done():
		return s.drain(work)
	case <-s.link.lost():
		return s.link.reason()
	}
}

// connect finds those who call. From then on calls are answered.
func (s *Server) connect(work context.Context) error {
	s.work = work
	s.stopping, s.sendAway = context.WithCancelCause(work)
	if s.config.Peer != nil {
		p := newSolo(work, s.config.Peer, s.receive)
		s.link, s.transport = p, p.transport
	} else {
		b, t, err := joinBus(work, s.config.Address, s.receive)
		if err != nil {
			return err
		}
		s.link, s.transport = b, t
	}
	s.accounts.own = s.link.name()
	close(s.up)
	return nil
}

// errStopping is what those are told who wait for something when the daemon stops.
var errStopping = fmt.Errorf("the daemon is stopping: %w", ErrUnreachable)

// drain gives the name back, so that the bus sends the next call to the next daemon,
// and answers what it was sent before: the reply comes after all of that.
func (s *Server) drain(ctx context.Context) error {
	err := s.link.release(ctx)
	s.sendAway(errStopping)
	s.answered()
	return err
}

// answered returns when all that was called is answered.
func (s *Server) answered() {
	s.calls.wait()
	s.parked.wait()
	s.refusals.wait()
}

// Ping sends a call to the server over the bus and waits for the answer: a
// watchdog's way to see that both are alive. How much others ask is nothing to it.
func (s *Server) Ping(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return fmt.Errorf("ping: %w", ctx.Err())
	}
	if err := received(s.link.ping(ctx)); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// node finds what stands at a path.
func (s *Server) node(path ObjectPath) (node, error) {
	if path == logControlPath && s.config.LogControl != nil {
		return node{path, s.faces.ofNode(s.faces.log), s.faces.log, s.config.LogControl}, nil
	}
	t := s.publisher.tree()
	if o, ok := t.lookup(path); ok {
		return node{path, s.faces.ofNode(o.face), o.face, o.value}, nil
	}
	if isBranch(path, s.config.LogControl != nil) {
		return node{path, s.faces.ofNode(nil), nil, nil}, nil
	}
	return node{path: path}, fmt.Errorf("object %q: %w", path, ErrUnknownObject)
}

// isInternal tells whether an error is the daemon's fault, and worth a line in its log.
func isInternal(err error) bool { return errors.Is(InfoOf(err).Err(), ErrInternal) }
