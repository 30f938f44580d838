package dbus

import "context"

// Polkit is the [Authorizer] that asks polkit. Root is always allowed, without
// asking; when polkit can't be reached everyone else is refused.
type Polkit struct{ conn *Conn }

// NewPolkit returns an authorizer that reaches polkit through conn.
func NewPolkit(conn *Conn) *Polkit { return &Polkit{conn: conn} }

// Authorize implements [Authorizer].
func (p *Polkit) Authorize(ctx context.Context, c Caller, action string, details map[string]string, interactive bool) error {
	return ErrAccessDenied
}
