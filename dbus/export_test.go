package dbus

import (
	"context"
	"slices"
)

// Sentinels are the errors of the table.
func Sentinels() []error {
	var all []error
	for _, line := range errorNames() {
		if !slices.Contains(all, line.err) {
			all = append(all, line.err)
		}
	}
	return all
}

// Parked is how many calls wait for something.
func (s *Server) Parked() int {
	s.parked.mu.Lock()
	defer s.parked.mu.Unlock()
	return s.parked.total
}

// Actions are the actions of polkit that the tables name, sorted.
func Actions() []string {
	all := []string{actionCancelJob + otherUser}
	for _, f := range newFaces().all() {
		for _, m := range f.methods {
			if m.action != "" && !slices.Contains(all, m.action) {
				all = append(all, m.action)
			}
		}
	}
	slices.Sort(all)
	return all
}

// Live is how many calls are being answered.
func (s *Server) Live() int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return s.calls.total
}

// Held is how many calls count for somebody, Strangers how many of them for nobody who is known.
func (s *Server) Held() int {
	total := s.Strangers()
	for _, q := range []*quota[uint32]{s.accounts.users, s.accounts.root} {
		q.mu.Lock()
		total += q.total
		q.mu.Unlock()
	}
	return total
}

// Strangers is how many calls of connections whose user is not known are being answered.
func (s *Server) Strangers() int {
	s.accounts.strangers.mu.Lock()
	defer s.accounts.strangers.mu.Unlock()
	return s.accounts.strangers.total
}

// Sent is how many messages the server has sent.
func (s *Server) Sent() uint32 { return s.transport.serial.Load() }

// Remembered is of how many connections the user is known, and for how many the bus is being asked.
func (s *Server) Remembered() (known, asked int) {
	c := s.link.(*bus).callers
	c.knowing.Lock()
	defer c.knowing.Unlock()
	return len(c.users), len(c.asked)
}

// MethodSignature is a method with its interface, and the types of its arguments.
type MethodSignature struct{ Name, In string }

// Methods are all methods that the server has.
func Methods() []MethodSignature {
	var all []MethodSignature
	for _, f := range newFaces().all() {
		for _, m := range f.methods {
			all = append(all, MethodSignature{f.name + "." + m.name, m.in})
		}
	}
	return all
}

// AddNumbers adds a method to a server that does not run yet: it streams what start's job produces.
func (s *Server) AddNumbers(start func(context.Context, Caller, *Stream) (uint64, error)) {
	s.faces.manager.methods = append(s.faces.manager.methods, method{
		"Numbers", "t", "oay", actionPrune,
		func(s *Server, _ *call) (deed, error) { return deed{do: s.streaming(start)}, nil },
	})
}

// Numbers calls the method that AddNumbers added.
func (c *Client) Numbers(ctx context.Context) (*Results[int], error) {
	return startStream[int](ctx, c, "Numbers", noFlags)
}

// Streams is how many streams are open.
func (s *Server) Streams() int {
	s.streams.open.mu.Lock()
	defer s.streams.open.mu.Unlock()
	return s.streams.open.total
}

// HangUp closes the connection to polkit.
func (p *Polkit) HangUp() error { return p.conn.Close() }
