package daemon

import "time"

// CheckSpace is what the daemon does once a minute.
func (d *Daemon) CheckSpace(now time.Time) { d.checkSpace(now) }
