package daemon

import (
	"context"
	"time"
)

// CheckSpace is what the daemon does once a minute.
func (d *Daemon) CheckSpace(now time.Time) { d.checkSpace(now) }

// RenewLosses is what the daemon does for losses every ten minutes.
func (d *Daemon) RenewLosses(ctx context.Context) error { return d.renewLosses(ctx, false) }
