package dbus

import (
	"context"
	"errors"
	"testing"
)

// Who is sent away while the bus is asked for him is told why, and not that he has left.
func TestWhoIsSentAwayHasNotLeft(t *testing.T) {
	s, _ := offline(t)
	ctx, sendAway := context.WithCancelCause(t.Context())
	sendAway(errStopping)
	if _, _, err := s.link.whilePresent(ctx, ":1.5"); !errors.Is(err, errStopping) {
		t.Errorf("error %v", err)
	}
	if _, _, err := s.link.whilePresent(t.Context(), ":1.5"); !errors.Is(err, ErrCanceled) {
		t.Errorf("who is not on the bus: %v", err)
	}
}
