package daemon

import (
	"context"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/retention"
	"github.com/impermanence/impermanence/dbus"
)

const (
	// spaceInterval is how often the free space is looked at, which takes one system call.
	spaceInterval = time.Minute
	// fruitlessRest is how long it isn't after pruning would not have helped.
	fruitlessRest = 15 * time.Minute
)

// checkSpace starts to prune when a mounted ephemeral file system has less free space than minFree, and pruning would
// help. In a boot that early boot was told to leave alone nothing is deleted: who boots so looks for something.
func (d *Daemon) checkSpace(now time.Time) {
	cfg, _ := d.current()
	if cfg.Retention.MinFree.Bytes == 0 && cfg.Retention.MinFree.Percent == 0 || d.restsFromSpace(now) || d.leftAlone() {
		return
	}
	places, err := d.findPlaces()
	if err != nil {
		return // whoever asks for roots is told
	}
	for _, p := range places {
		if short, helps := d.short(p); short && !helps {
			d.restFromSpace(now)
			d.log.Warnw("less than minFree is left, and there is nothing to prune", "mountPoint", p.mountPoint)
		} else if short {
			d.log.Infow("less than minFree is left", "mountPoint", p.mountPoint)
			if _, err := d.Prune(context.Background(), dbus.Caller{}, dbus.PruneOptions{}); err != nil {
				d.log.Infow("prune for want of space", "error", err) // busy, most likely with just that
			}
			return
		}
	}
}

// restFromSpace has nobody look at the free space for a while.
func (d *Daemon) restFromSpace(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spaceRest = now.Add(fruitlessRest)
}

func (d *Daemon) restsFromSpace(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Before(d.spaceRest)
}

// leftAlone says that early boot did nothing because somebody asked for it.
func (d *Daemon) leftAlone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.boot["outcome"] == string(btrfsops.OutcomeSkipped)
}

// short tells whether a place has too little room, and whether pruning would change that. What is mounted nowhere isn't
// looked at: that would take a mount.
func (d *Daemon) short(p place) (short, helps bool) {
	if p.guards.Booted == 0 {
		return false, false
	}
	space, err := btrfsops.SpaceAt(d.inSysroot(p.mountPoint))
	if err != nil {
		d.log.Warnw("look at the free space", "error", err)
		return false, false
	}
	cfg, _ := d.current()
	if space.Free >= policyOf(cfg.Retention, dbus.PruneOptions{}, space.Total).MinFree {
		return false, false
	}
	plan, err := d.plan(context.Background(), p, dbus.PruneOptions{}, false)
	if err != nil {
		d.log.Warnw("plan to prune for want of space", "error", err)
	}
	return true, len(retention.Removals(plan)) > 0
}
