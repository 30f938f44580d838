package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

// tally is what a job that deletes has done so far.
type tally struct {
	progress    *jobs.Progress
	goneIsDone  bool     // what somebody else has deleted meanwhile is no failure
	deleted     []string // names
	failed      []string // name: why
	causes      []error
	subvolumes  int
	done, total uint64 // roots
}

// delete deletes roots of one place, whatever becomes of each, and tallies.
func (d *Daemon) delete(ctx context.Context, fs *btrfsops.Filesystem, p place, doomed []btrfsops.OldRoot, t *tally) (btrfsops.DeleteReport, error) {
	if len(doomed) == 0 {
		return btrfsops.DeleteReport{}, nil
	}
	ids := make([]btrfsops.SubvolumeID, len(doomed))
	names := make(map[btrfsops.SubvolumeID]string, len(doomed))
	for i, r := range doomed {
		ids[i], names[r.ID] = r.ID, r.Name
	}
	share := float64(len(doomed))
	report, err := fs.Delete(ctx, p.guards, ids, func(done, total int) {
		reached := share * float64(done) / float64(total) // in roots
		t.progress.Items(t.done+uint64(reached), t.total, reached-float64(uint64(reached)))
	})
	for _, id := range report.Deleted {
		t.deleted = append(t.deleted, names[id])
		d.stopBrowsing(ctx, p, id, names[id])
	}
	for _, f := range report.Failed {
		if t.goneIsDone && errors.Is(f.Err, btrfsops.ErrNoSuchRoot) {
			continue
		}
		t.failed = append(t.failed, fmt.Sprintf("%s: %v", names[f.ID], f.Err))
		t.causes = append(t.causes, f.Err)
	}
	t.subvolumes += len(report.Subvolumes)
	t.done += uint64(len(report.Deleted) + len(report.Failed))
	t.progress.Items(t.done, t.total, 0)
	d.tell(dbus.RootsChanged)
	return report, err
}

// result tells what the job did, and returns what it ends with: nil when nothing failed.
func (t *tally) result(err error) error {
	if len(t.deleted) > 0 {
		t.progress.Detail("deleted", slices.Clone(t.deleted))
		t.progress.Detail("subvolumes", uint64(t.subvolumes))
	}
	if len(t.failed) > 0 {
		t.progress.Detail("failed", slices.Clone(t.failed))
	}
	switch {
	case err != nil && len(t.deleted) > 0 && !errors.Is(err, context.Canceled):
		return jobs.Partly(err)
	case err != nil:
		return err
	case len(t.failed) == 0:
		return nil
	}
	err = &failures{t.failed, t.causes}
	if len(t.deleted) > 0 {
		return jobs.Partly(err)
	}
	return err
}

// failures is the error of several roots.
type failures struct {
	lines  []string
	causes []error
}

func (f *failures) Error() string   { return strings.Join(f.lines, "; ") }
func (f *failures) Unwrap() []error { return f.causes }

// DeleteRoots starts a job that deletes roots. Nothing is deleted when one of them is not there or protected.
func (d *Daemon) DeleteRoots(_ context.Context, c dbus.Caller, ids []uint64) (uint64, error) {
	if len(ids) == 0 {
		return 0, named(dbus.ErrInvalidArgs, "delete roots: none is given")
	}
	places, err := d.placesToDelete()
	if err != nil {
		return 0, toBus(err)
	}
	doomed, err := d.findIn(places, ids...)
	if err != nil {
		return 0, toBus(err)
	}
	var refused []error
	var objects, devices []string
	for _, r := range doomed {
		if len(r.Reasons) > 0 {
			refused = append(refused, &btrfsops.ProtectedError{ID: r.ID, Name: r.Name, Reasons: r.Reasons})
		}
		objects = append(objects, string(dbus.RootPath(r.outside())))
		devices = append(devices, r.place.device)
	}
	if len(refused) > 0 {
		return 0, toBus(errors.Join(refused...))
	}
	return d.start(jobs.Request{
		Operation: "delete-roots", Objects: objects, Sender: c.Sender, UID: c.UID, Cancelable: true, Writes: devices,
		Run: func(ctx context.Context, p *jobs.Progress) error { return d.deleteRoots(ctx, p, doomed) },
	})
}

// deleteRoots is the job: place by place, since a file system deletes at once what it can.
func (d *Daemon) deleteRoots(ctx context.Context, p *jobs.Progress, doomed []guardedRoot) error {
	t := &tally{progress: p, total: uint64(len(doomed))}
	p.Items(0, t.total, 0)
	p.Stage("deleting")
	var err error
	for len(doomed) > 0 && err == nil {
		here := doomed[0].place
		var roots []btrfsops.OldRoot
		doomed = slices.DeleteFunc(doomed, func(r guardedRoot) bool {
			if r.place.mountPoint != here.mountPoint {
				return false
			}
			roots = append(roots, r.OldRoot)
			return true
		})
		err = d.files.use(here, func(fs *btrfsops.Filesystem) error {
			_, err := d.delete(ctx, fs, here, roots, t)
			return err
		})
	}
	return t.result(err)
}

// start starts a job, with the name of its error on the bus.
func (d *Daemon) start(r jobs.Request) (uint64, error) {
	d.used()
	id, err := d.jobs.Start(r)
	return id, toBus(err)
}
