package daemon

import (
	"context"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

// CreateSnapshot starts a job that copies the running root.
func (d *Daemon) CreateSnapshot(_ context.Context, c dbus.Caller, label string) (uint64, error) {
	p, err := d.root()
	if err != nil {
		return 0, toBus(err)
	}
	return d.start(jobs.Request{
		Operation: "create-snapshot", Sender: c.Sender, UID: c.UID, Writes: []string{p.device},
		Run: func(ctx context.Context, progress *jobs.Progress) error { return d.snapshot(ctx, progress, p, label) },
	})
}

// snapshot is the job.
func (d *Daemon) snapshot(ctx context.Context, progress *jobs.Progress, p place, label string) error {
	bootID, err := btrfsops.BootID()
	if err != nil {
		return err
	}
	return d.files.use(p, func(fs *btrfsops.Filesystem) error {
		made, err := fs.Snapshot(ctx, p.guards.Layout, btrfsops.SnapshotOptions{Label: label, BootID: bootID, Now: d.opts.Now().UTC()})
		if err != nil {
			return err
		}
		progress.Detail("root", dbus.RootPath(p.outside(made.ID)))
		progress.Detail("name", made.Name)
		d.tell(dbus.RootsChanged)
		return nil
	})
}
