package daemon

import (
	"errors"
	"time"
)

// errIdle ends the daemon when nobody has wanted anything for a while. The bus starts it again for the next call: it gives
// its name back first and answers what was sent before, so no call is lost between one and the next.
var errIdle = errors.New("idle")

// used remembers that somebody wants something.
func (d *Daemon) used() { d.lastUse.Store(time.Now().UnixNano()) }

// idleFor is for how long nobody has wanted anything. A job that runs, or that ended so lately that it is still shown, is
// wanted.
func (d *Daemon) idleFor() time.Duration {
	if len(d.jobs.Jobs()) > 0 {
		d.used()
	}
	return time.Since(time.Unix(0, d.lastUse.Load()))
}

// looksPerIdle is how often in Options.IdleExit the daemon looks whether it is idle.
const looksPerIdle = 4

// idleTicks says when to look whether the daemon is idle: never when it is to stay.
func (d *Daemon) idleTicks() *time.Ticker {
	d.used()
	if d.opts.IdleExit <= 0 {
		ticker := time.NewTicker(time.Hour)
		ticker.Stop()
		return ticker
	}
	return time.NewTicker(max(d.opts.IdleExit/looksPerIdle, time.Millisecond))
}
