package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// seen is what the daemon saw when it looked last. What it tells of without looking again is here.
type seen struct {
	filesystem string // UUID
	booted     uint64
	next       string
	boot       dbus.Details
	lastPrune  time.Time
	entries    []dbus.Entry
}

// Rescan looks again at everything that others may have changed, and tells what is different.
func (d *Daemon) Rescan(ctx context.Context) error {
	err := d.look(ctx)
	d.compareConfiguration()
	d.tell(dbus.EverythingChanged)
	signal(d.renewal)
	return toBus(err)
}

// lookOnce looks when nobody has done so yet.
func (d *Daemon) lookOnce() {
	d.firstLook.Do(func() {
		d.readLosses()
		if err := d.look(context.Background()); err != nil {
			d.log.Warnw("look around", "error", err)
		}
	})
}

// look looks at the file system, the entries, and what early boot left. What can't be seen is told as not known; the
// error says why.
func (d *Daemon) look(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	d.readRecorded()
	cfg, _ := d.current()
	var now seen
	now.boot = d.readBoot()
	now.lastPrune = d.readLastPrune()
	entries, err := d.inspect(ctx, cfg)
	now.entries = entries
	if len(cfg.Ephemeral) > 0 {
		err = errors.Join(err, d.lookAtRoot(&now))
	}
	if ctx.Err() != nil { // what was seen is not all
		return ctx.Err()
	}
	d.mu.Lock()
	d.seen = now
	d.mu.Unlock()
	return err
}

// lookAtRoot looks at the file system that "/" is on.
func (d *Daemon) lookAtRoot(now *seen) error {
	p, err := d.root()
	if err != nil {
		return err
	}
	now.booted = p.outside(p.guards.Booted)
	now.compareBoot(p)
	return d.files.use(p, func(fs *btrfsops.Filesystem) error {
		now.filesystem = fs.UUID()
		next, err := nextOf(fs, p)
		now.next = next
		return err
	})
}

// compareBoot holds what early boot says it did against what is mounted. They differ when the root is mounted by something
// that early boot knew nothing of, or when what it did never reached the disk.
func (now *seen) compareBoot(p place) {
	fresh, _ := now.boot["fresh"].(uint64)
	booted := uint64(p.guards.Booted)
	if fresh == 0 || booted == 0 || fresh == booted || now.boot["mountPoint"] != p.mountPoint {
		return
	}
	text := fmt.Sprintf("early boot made subvolume %d the root, and subvolume %d is mounted at %s: it has to be mounted with subvol=%s",
		fresh, booted, p.mountPoint, p.guards.Layout.Root)
	if earlier, _ := now.boot["error"].(string); earlier != "" {
		text = earlier + "; " + text
	}
	now.boot["outcome"], now.boot["error"] = string(btrfsops.OutcomeFailed), text
}

// StateNextBoot is the state of an entry that is recorded, and that the next boot takes from the root that runs.
const StateNextBoot = "next-boot"

// inspect returns how the entries stand.
func (d *Daemon) inspect(ctx context.Context, cfg *config.Config) ([]dbus.Entry, error) {
	roots := d.opts.formerRoots(cfg)
	defer roots.Close()
	opts := cfg.In(d.opts.Sysroot)
	opts.Former = roots.Named
	if _, direct := d.opts.Placer.(directPlacer); direct { // a sandbox can't open it, nor see what is below mounts
		opts.Template = roots.Templates
	}
	statuses, err := persist.Inspect(ctx, opts, cfg.Entries())
	entries := make([]dbus.Entry, 0, len(statuses))
	for _, s := range statuses {
		e, state := s.Entry, s.State.String()
		if s.State == persist.Missing && roots.Runs(e) {
			state = StateNextBoot
		}
		entries = append(entries, dbus.Entry{
			Target: e.Target, Source: e.Source, Kind: e.Kind.String(), Method: s.Method.String(),
			User: e.User, Group: e.Group, Mode: e.Mode.Bits, State: state,
			LastError: errorInfo(s.Err), Origin: e.Origin.String(),
		})
	}
	return entries, err
}

// readBoot reads what early boot did with the first ephemeral mount point. There is nothing to tell when it did not run.
func (d *Daemon) readBoot() dbus.Details {
	records, err := btrfsops.ReadBootRecords(filepath.Join(d.opts.RunDir, btrfsops.BootRecordName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warnw("what early boot did is not known", "error", err)
	}
	if len(records) == 0 {
		return nil
	}
	details := bootDetails(records[0])
	var failures []string
	for _, r := range records {
		if r.Outcome == btrfsops.OutcomeFailed {
			failures = append(failures, r.MountPoint+": "+r.Error)
		}
	}
	if len(failures) > 0 {
		details["failures"] = failures
	}
	return details
}

// bootDetails is a boot record as the bus shows it. What is empty is left out.
func bootDetails(r btrfsops.BootRecord) dbus.Details {
	details := dbus.Details{}
	for key, value := range map[string]string{
		"mountPoint": r.MountPoint, "outcome": string(r.Outcome), "reason": r.Reason, "error": r.Error, "bootID": r.BootID,
		"device": r.Device, "oldRoot": r.Report.OldRoot, "source": r.Report.Source, "recovered": r.Report.Recovered,
	} {
		if value != "" {
			details[key] = value
		}
	}
	for key, value := range map[string]uint64{
		"fresh": uint64(r.Report.Fresh), "former": uint64(r.Report.Former), "timeUSec": usec(r.Time),
		"rolledOverUSec": usec(r.Report.RolledOver), "durationUSec": uint64(r.Report.Duration.Microseconds()),
	} {
		if value != 0 {
			details[key] = value
		}
	}
	return details
}

// usec is a time in microseconds since 1970; 0 for none.
func usec(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(0, t.UnixMicro()))
}

// pruneRecord is what the runtime directory holds of the last prune.
type pruneRecord struct {
	Time    time.Time `json:"time"`
	Result  string    `json:"result"`
	Deleted []string  `json:"deleted,omitempty"`
	Failed  []string  `json:"failed,omitempty"`
}

// pruneRecordName is the name of its file there.
const pruneRecordName = "prune.json"

// readLastPrune returns when something was last pruned in this boot.
func (d *Daemon) readLastPrune() time.Time {
	var record pruneRecord
	if err := d.opts.readRecord(pruneRecordName, &record); err != nil {
		d.log.Warnw("when was last pruned is not known", "error", err)
	}
	return record.Time
}

// writePruneRecord remembers a prune for the next start of the daemon.
func (d *Daemon) writePruneRecord(record pruneRecord) {
	if err := d.opts.writeRecord(pruneRecordName, record); err != nil {
		d.log.Warnw("remember the prune", "error", err)
	}
	d.looking.Lock()
	defer d.looking.Unlock()
	d.mu.Lock()
	d.seen.lastPrune = record.Time
	d.mu.Unlock()
}
