package dbus

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	godbus "github.com/godbus/dbus/v5"
)

const (
	polkitName      = "org.freedesktop.PolicyKit1"
	polkitPath      = "/org/freedesktop/PolicyKit1/Authority"
	polkitInterface = polkitName + ".Authority"

	polkitAllowInteraction = 1 // CheckAuthorizationFlags.AllowUserInteraction
)

// Polkit is the [Authorizer] that asks polkit. Root is always allowed, without
// asking; when polkit can't be reached, or doesn't know the action, everyone else is
// refused.
type Polkit struct {
	ctx     context.Context
	address string
	asked   atomic.Uint64

	dialing sync.Mutex
	conn    *Conn // nil: not yet
}

// NewPolkit returns an authorizer that reaches polkit through the bus at address, empty
// for the system bus, by a connection of its own: it is made for the first question,
// again when it was lost, and closed when ctx ends. It must be root's: polkit shows
// details only to such.
func NewPolkit(ctx context.Context, address string) *Polkit {
	return &Polkit{ctx: ctx, address: address}
}

// connection is where polkit is asked.
func (p *Polkit) connection() (*Conn, error) {
	p.dialing.Lock()
	defer p.dialing.Unlock()
	if p.conn != nil && p.conn.Connected() {
		return p.conn, nil
	}
	conn, err := DialAddress(p.ctx, p.address)
	p.conn = conn
	return conn, err
}

// polkitSubject is whom polkit is asked about. A bus name can't be taken over by
// another process, as a process id can.
type polkitSubject struct {
	Kind    string
	Details map[string]godbus.Variant
}

// polkitAnswer is polkit's AuthorizationResult.
type polkitAnswer struct {
	Authorized bool
	Challenge  bool
	Details    map[string]string
}

// Authorize implements [Authorizer].
func (p *Polkit) Authorize(ctx context.Context, c Caller, action string, details map[string]string, interactive bool) error {
	if c.UID == 0 {
		return nil
	}
	answer, err := p.check(ctx, c, action, details, interactive)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("authorize %s: %w", action, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("authorize %s: %w: ask polkit: %w", action, ErrAccessDenied, received(err))
	case answer.Authorized:
		return nil
	case answer.Details["polkit.dismissed"] != "":
		return fmt.Errorf("authorize %s: %w: the question was dismissed", action, ErrAccessDenied)
	case answer.Challenge && interactive:
		return fmt.Errorf("authorize %s: %w: there is no agent that could ask", action, ErrInteractiveAuthorizationRequired)
	case answer.Challenge:
		return fmt.Errorf("authorize %s: %w", action, ErrInteractiveAuthorizationRequired)
	default:
		return fmt.Errorf("authorize %s: %w", action, ErrAccessDenied)
	}
}

// check asks polkit, and takes the question back when ctx ends.
func (p *Polkit) check(ctx context.Context, c Caller, action string, details map[string]string, interactive bool) (polkitAnswer, error) {
	subject := polkitSubject{"system-bus-name", map[string]godbus.Variant{"name": godbus.MakeVariant(c.Sender)}}
	var flags uint32
	if interactive {
		flags = polkitAllowInteraction
	}
	told := make(map[string]string, len(details))
	for key, text := range details { // a path need not be text, which the bus wants
		told[key] = strings.ToValidUTF8(text, "\ufffd")
	}
	question := fmt.Sprintf("%s-%d", BusName, p.asked.Add(1))
	conn, err := p.connection()
	if err != nil {
		return polkitAnswer{}, err
	}
	authority := conn.Object(polkitName, polkitPath)
	defer context.AfterFunc(ctx, func() {
		authority.Go(polkitInterface+".CancelCheckAuthorization", godbus.FlagNoReplyExpected, nil, question)
	})()
	var answer polkitAnswer
	err = authority.CallWithContext(ctx, polkitInterface+".CheckAuthorization", 0, subject, action, told, flags, question).Store(&answer)
	return answer, err
}
