package daemon

import (
	"context"
	"time"
)

// CheckSpace is what the daemon does once a minute.
func (d *Daemon) CheckSpace(now time.Time) { d.checkSpace(now) }

// DoNotSearchForSizes has plans go by the sizes that are known, until patient is called: then they wait for all.
func (d *Daemon) DoNotSearchForSizes() (patient func()) {
	d.sizes.patience = 0
	return func() { d.sizes.patience = time.Hour }
}

// DoNotWaitForTheCleaner has a prune wait for nothing that does not get on.
func (d *Daemon) DoNotWaitForTheCleaner() { d.cleaning = 0 }

// SayWatched is what CopyBackUnit does when it has read what to watch.
func (o Options) SayWatched() error {
	cfg, err := o.loadCopied()
	if err == nil {
		o.sayWatched(copiesOf(cfg))
	}
	return err
}

// RenewLosses is what the daemon does for losses every ten minutes.
func (d *Daemon) RenewLosses(ctx context.Context) error { return d.renewLosses(ctx, false) }
