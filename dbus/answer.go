package dbus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
)

// receive takes a call from the reader: what is too much, too long or of a wrong
// type is refused before it is decoded, anything else is answered on its own.
func (s *Server) receive(h *header, frame []byte) {
	<-s.up
	a, err := s.admit(h)
	if err != nil {
		s.refuse(h, err)
		return
	}
	if a.call.args, err = s.arguments(h, frame); err != nil {
		s.refuse(h, err)
		a.release()
		return
	}
	go a.answer()
}

// admit counts a call for its connection and for its user, or as a stranger's.
func (s *Server) admit(h *header) (*answering, error) {
	if err := s.calls.take(h.sender); err != nil {
		return nil, err
	}
	caller, count := Caller{h.sender, stranger}, s.accounts.takeStranger
	uid, known := s.link.known(h.sender)
	if known {
		caller.UID, count = uid, s.accounts.take
	}
	give, err := count(caller)
	if err != nil {
		s.calls.give(h.sender)
		return nil, err
	}
	return &answering{server: s, call: call{header: *h}, caller: caller, identified: known, give: give}, nil
}

// arguments decodes the arguments of a call when there is a method that takes them.
func (s *Server) arguments(h *header, frame []byte) ([]any, error) {
	if frame == nil {
		return nil, fmt.Errorf("call of %d bytes: %w: at most %d", h.size(), ErrLimitsExceeded, maxCallSize)
	}
	if h.signature == "" || !s.faces.take(h.iface, h.member, h.signature) {
		return nil, nil
	}
	if err := checkBody(h.order, h.signature, h.bodyOf(frame)); err != nil {
		return nil, fmt.Errorf("arguments of %s: %w: %w", h.member, ErrInvalidArgs, err)
	}
	if args, plain := plainArguments(h.order, h.signature, h.bodyOf(frame)); plain {
		return args, nil
	}
	m, err := decode(frame)
	if err != nil {
		return nil, fmt.Errorf("arguments of %s: %w: %w", h.member, ErrInvalidArgs, err)
	}
	return m.Body, nil
}

// refuse has a call answered with an error, if an answer is wanted. The reader waits for it only when it refuses many.
func (s *Server) refuse(h *header, err error) {
	if h.wantsReply() {
		s.refusals.add(errorTo(h, err))
	}
}

func (s *Server) sendErrors(messages ...message) {
	if err := s.transport.send(messages...); err != nil {
		s.config.Log.Debugw("send errors", "count", len(messages), "error", err)
	}
}

// answer does what a call asks for and replies. A panic is a reply, too: one call
// must not end the daemon.
func (a *answering) answer() {
	s, h := a.server, &a.call.header
	defer func() {
		_ = a.identify(s.work) // so that the next call is no stranger's; an error means that there is no next
		a.release()
	}()
	defer func() {
		if v := recover(); v != nil {
			s.config.Log.Errorw("answer panicked", "method", h.iface+"."+h.member, "panic", v, "stack", string(debug.Stack()))
			a.fail(fmt.Errorf("%s: %w", h.member, ErrInternal))
		}
	}()
	b, err := a.run()
	if err != nil {
		log := s.config.Log.Debugw
		if isInternal(err) {
			log = s.config.Log.Errorw
		}
		log("refused", "method", h.iface+"."+h.member, "sender", h.sender, "error", err)
		a.fail(err)
		return
	}
	if h.wantsReply() {
		a.reply(b)
	}
}

// fail sends an error, if an answer is wanted.
func (a *answering) fail(err error) {
	if h := &a.call.header; h.wantsReply() {
		a.server.sendErrors(errorTo(h, err))
	}
}

// reply sends what was asked for.
func (a *answering) reply(b body) {
	s, h := a.server, &a.call.header
	send := s.transport.send
	if a.long {
		send = s.transport.sendLong
	}
	err := send(replyTo(h, b))
	if errors.Is(err, ErrLimitsExceeded) {
		a.fail(fmt.Errorf("reply: %w", err))
	} else if err != nil {
		s.config.Log.Debugw("send reply", "to", h.sender, "error", err)
	}
}

// answering is the way of one call through the server.
type answering struct {
	server     *Server
	call       call
	caller     Caller
	identified bool   // whether the caller's user is known, and the call counts for it, or was asked for in vain
	give       func() // gives back what counts for the user
	parked     bool
	present    func() // ends watching whether the caller is still there
	long       bool   // whether the answer may be long
	done       func() // ends its turn, if it has one
}

// identify finds out whose call it is. From then on it counts for its user, who may have too many already.
func (a *answering) identify(ctx context.Context) error {
	s := a.server
	if a.identified {
		return nil
	}
	a.identified = true
	caller, err := s.link.identify(ctx, a.call.sender)
	if err != nil {
		return err
	}
	give, err := s.accounts.take(caller)
	if err != nil {
		return err
	}
	a.give()
	a.caller, a.give = caller, give
	return nil
}

// run plans, asks whether the caller may, plans anew, and does. Only what can't take long is done before it is known whose call
// it is.
func (a *answering) run() (body, error) {
	ctx := a.server.work
	if a.call.needs()&RootsChanged != 0 {
		if err := a.identify(ctx); err != nil {
			return body{}, err
		}
	}
	d, err := a.plan(ctx)
	if err != nil {
		return body{}, err
	}
	if a.call.method.action != "" || d.caller || d.parks || d.long {
		if err := a.identify(ctx); err != nil {
			return body{}, err
		}
	}
	if d.parks || a.call.method.action != "" && a.caller.UID != 0 {
		if ctx, err = a.park(ctx); err != nil {
			return body{}, err
		}
	}
	if a.call.method.action != "" {
		if d, err = a.authorize(ctx, d); err != nil {
			return body{}, err
		}
	}
	if a.long = d.long; d.long && a.call.method.action == "" {
		a.done = a.server.turns.take(a.caller.UID)
	}
	b, err := d.do(ctx, a.caller)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return body{}, cause
	}
	if err == nil && (a.call.method.action != "" || d.parks) {
		a.server.publisher.flush(a.server.work, EverythingChanged)
	}
	return b, err
}

// plan looks the call up in the tables and checks it against what is on the bus now.
func (a *answering) plan(ctx context.Context) (deed, error) {
	s, c := a.server, &a.call
	s.publisher.flush(ctx, c.needs())
	n, err := s.node(c.path)
	if err != nil && c.iface != s.faces.peer.name {
		return deed{}, err
	}
	if err != nil { // the D-Bus specification wants a Ping answered at every path
		n.faces = []*face{s.faces.peer}
	}
	if c.method, err = n.find(c.iface, c.member); err != nil {
		return deed{}, err
	}
	if c.signature != c.method.in {
		return deed{}, fmt.Errorf("arguments of %s: %w: their types are %q, not %q", c.member, ErrInvalidArgs, c.method.in, c.signature)
	}
	c.node = n
	return c.method.plan(s, c)
}

// needs are the kinds of things that must be up to date for a call. Only what is
// about roots waits until they are listed.
func (c *call) needs() Change {
	path := string(c.path)
	aboutRoots := strings.HasPrefix(path+"/", rootPrefix) || c.iface == objectsInterface ||
		c.path == ManagerPath && (c.iface == managerInterface || c.iface == "")
	if aboutRoots {
		return EverythingChanged
	}
	return EverythingChanged &^ RootsChanged
}

// park moves the call to the account of what its user waits for: it may take long.
// The context it returns ends when the caller leaves the bus or the server stops.
func (a *answering) park(_ context.Context) (context.Context, error) {
	s := a.server
	if err := s.parked.take(a.caller.UID); err != nil {
		return nil, err
	}
	s.calls.give(a.call.sender)
	a.give()
	a.parked = true
	ctx, present, err := s.link.whilePresent(s.stopping, a.call.sender)
	a.present = present
	return ctx, err
}

func (a *answering) release() {
	if a.done != nil {
		a.done()
	}
	if a.present != nil {
		a.present()
	}
	if a.parked {
		a.server.parked.give(a.caller.UID)
		return
	}
	a.give()
	a.server.calls.give(a.call.sender)
}

// authorize asks whether the caller may do d, and plans it anew: while a person
// thinks about a password, the world goes on.
func (a *answering) authorize(ctx context.Context, d deed) (deed, error) {
	s, c := a.server, &a.call
	action := c.method.action
	if d.owner != nil && *d.owner != a.caller.UID {
		action += otherUser
	}
	if err := s.checkJobs(c.method, a.caller); err != nil {
		return d, err
	}
	if err := s.config.Authorizer.Authorize(ctx, a.caller, action, d.details, c.interactive()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return d, cause
		}
		return d, err
	}
	s.config.Log.Infow("authorized", "action", action, "method", c.member, "path", string(c.path), "uid", a.caller.UID, "sender", a.caller.Sender)
	again, err := a.plan(s.work)
	if err != nil {
		return d, err
	}
	if again.owner != nil && d.owner != nil && *again.owner != *d.owner {
		return d, fmt.Errorf("%s: %w: its owner is another one now", c.path, ErrStateChanged)
	}
	return again, nil
}

// checkJobs refuses one job more than a user may have.
func (s *Server) checkJobs(m *method, caller Caller) error {
	if !m.startsJob() {
		return nil
	}
	active := 0
	for _, o := range s.publisher.tree().jobs.list {
		if job := o.value.(*Job); job.State != JobDone && job.StartedByUID == caller.UID {
			active++
		}
	}
	if active >= maxJobsPerUser {
		return fmt.Errorf("%w: %d jobs of user %d are under way", ErrLimitsExceeded, active, caller.UID)
	}
	return nil
}
