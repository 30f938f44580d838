package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

const (
	// lossesDelay is how long after the start what the next boot will lose is looked for.
	lossesDelay = 15 * time.Second
	// lossesInterval is the least time between two searches that nobody asked for.
	lossesInterval = 10 * time.Minute
)

// lossRecord is what the next boot will lose, as the last search of all of it found. The runtime directory holds it too, so
// that a daemon that was started for one question can answer it.
type lossRecord struct {
	lossState
	Count uint64    `json:"count"`
	Bytes uint64    `json:"bytes"`
	Time  time.Time `json:"time"` // zero: nothing is known
}

// lossState is what losses hang on. Two searches of one state find the same, unless entries or rules are others.
type lossState struct {
	Booted uint64 `json:"booted"` // the running root and what the next boot does, as the manager tells them
	Next   string `json:"next"`
	Roots  string `json:"roots"` // all running roots, each with the transaction that changed it last
}

// lossRecordName is the name of its file there.
const lossRecordName = "losses.json"

// readLosses takes over what a daemon before this one found.
func (d *Daemon) readLosses() {
	var record lossRecord
	if err := d.opts.readRecord(lossRecordName, &record); err != nil {
		d.log.Warnw("what was lost last is not known", "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = record
}

// knownLosses is what is told of losses; it needs mu. What was found in another root, or for another next boot, says nothing of
// this one; and a boot that keeps the root loses nothing.
func (d *Daemon) knownLosses() dbus.Losses {
	if d.lost.Booted != d.seen.booted || d.lost.Next != d.seen.next || d.seen.next == btrfsops.NextKeep {
		return dbus.Losses{}
	}
	return dbus.Losses{Count: d.lost.Count, Bytes: d.lost.Bytes, Looked: d.lost.Time}
}

// learnLosses remembers what a search found that began in a state, and tells it.
func (d *Daemon) learnLosses(state lossState, t totals) {
	if state.Next == btrfsops.NextKeep {
		return
	}
	record := lossRecord{lossState: state, Count: t.count, Bytes: t.bytes, Time: d.opts.Now()}
	d.mu.Lock()
	d.lost = record
	d.mu.Unlock()
	if err := d.opts.writeRecord(lossRecordName, record); err != nil {
		d.log.Warnw("remember the losses", "error", err)
	}
	d.tell(dbus.ManagerChanged)
}

// findLosses looks for what the next boot will lose, now and then and when somebody has asked to look again, until ctx ends.
func (d *Daemon) findLosses(ctx context.Context) {
	d.lookOnce()
	now := d.opts.Now()
	d.mu.Lock()
	due := d.lost.Time.Add(lossesInterval).Sub(now)
	d.mu.Unlock()
	wait := min(max(due, lossesDelay), lossesInterval)
	for {
		timer := time.NewTimer(wait)
		asked := false
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-d.renewal:
			asked = true
		}
		timer.Stop()
		if ctx.Err() != nil || !d.jobsFirst(ctx) {
			return
		}
		began := time.Now()
		if err := d.renewLosses(ctx, asked); err != nil && ctx.Err() == nil {
			d.log.Debugw("what the next boot will lose is not known", "error", err)
		}
		if !pause(ctx, sizeRest*time.Since(began)) {
			return
		}
		wait = lossesInterval
	}
}

// renewLosses searches for what the next boot will lose: when asked always, else when the root has changed since the last
// search and early boot was not told to leave things alone. As for sizes nothing is mounted for it.
func (d *Daemon) renewLosses(ctx context.Context, asked bool) error {
	places, err := d.findPlaces()
	if err != nil || slices.ContainsFunc(places, func(p place) bool { return p.top == "" }) {
		return err
	}
	state, err := d.lossStateOf(places)
	if err != nil {
		return err
	}
	d.mu.Lock()
	known := d.lost.lossState == state
	d.mu.Unlock()
	if state.Next == btrfsops.NextKeep || !asked && (known || d.leftAlone()) {
		return nil
	}
	t, err := d.losses(ctx, places, dbus.ChangeFilter{}, func(dbus.FileChange) error { return nil })
	if err == nil {
		d.learnLosses(state, t)
	}
	return err
}

// lossStateOf looks at what losses hang on.
func (d *Daemon) lossStateOf(places []place) (lossState, error) {
	var state lossState
	var roots strings.Builder
	for i, p := range places {
		err := d.files.use(p, func(fs *btrfsops.Filesystem) error {
			next, err := nextOf(fs, p)
			if err != nil {
				return err
			}
			if i == 0 {
				state.Next, state.Booted = next, p.outside(p.guards.Booted)
			}
			root, err := fs.SubvolumeAt(p.guards.Layout.Root)
			fmt.Fprintf(&roots, "%s %d %d %s\n", fs.UUID(), root.ID, root.ChangedIn, next)
			return err
		})
		if err != nil {
			return state, err
		}
	}
	state.Roots = roots.String()
	return state, nil
}
