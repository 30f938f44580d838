package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/daemon/retention"
	"github.com/impermanence/impermanence/dbus"
)

// PlanPrune tells what Prune would do, at once: as far as sizes matter, by those that are known or found quickly.
func (d *Daemon) PlanPrune(ctx context.Context, o dbus.PruneOptions) ([]dbus.PlanItem, error) {
	if err := ctx.Err(); err != nil {
		return nil, toBus(err)
	}
	places, err := d.placesToDelete()
	if err != nil {
		return nil, toBus(err)
	}
	var items []dbus.PlanItem
	for _, p := range places {
		plan, err := d.plan(ctx, p, o, true)
		if err != nil {
			return nil, toBus(err)
		}
		for _, decision := range plan {
			items = append(items, dbus.PlanItem{
				Root: p.outside(btrfsops.SubvolumeID(decision.Root.ID)), Name: decision.Root.Name,
				Remove: decision.Remove, Reasons: decision.Reasons,
			})
		}
	}
	return items, nil
}

// plan decides what becomes of the roots of a place. Sizes are asked for when there is too little room, and when they are
// wanted: without them, all that may go for want of space is planned to.
func (d *Daemon) plan(ctx context.Context, p place, o dbus.PruneOptions, sizes bool) (decisions []retention.Decision, err error) {
	roots, err := d.rootsOf(p)
	if err != nil {
		return nil, err
	}
	err = d.files.use(p, func(fs *btrfsops.Filesystem) error {
		space, err := fs.Space()
		if err != nil {
			return err
		}
		cfg, _ := d.current()
		policy := policyOf(cfg.Retention, o, space.Total)
		facts := make([]retention.Root, len(roots))
		for i, r := range roots {
			facts[i] = r.facts()
		}
		if sizes && space.Free < policy.MinFree {
			d.measure(ctx, fs, roots, facts, policy.MinFree-space.Free)
		}
		decisions = retention.Plan(facts, policy, d.opts.Now(), space.Free)
		return ctx.Err()
	})
	return decisions, err
}

// measure adds sizes to facts about roots, as many as it takes to find enough that may go, the oldest first; of the others
// those that are known. A root whose size can't be had in a moment counts as one that frees nothing. All are looked for in the
// background, see sizes.
func (d *Daemon) measure(ctx context.Context, fs *btrfsops.Filesystem, roots []guardedRoot, facts []retention.Root, enough uint64) {
	ctx, end := context.WithTimeout(ctx, d.sizes.patience)
	defer end()
	var found uint64
	for i, r := range roots {
		size, known := d.sizes.of(r)
		facts[i].Size = size
		if len(r.Reasons) > 0 || found >= enough {
			continue
		}
		if !known {
			facts[i].Size, facts[i].Unsized = d.sizeSoon(ctx, fs, r)
		}
		found += facts[i].Size
	}
}

// sizeSoon is sizeOf for somebody who has a plan to give: without a size when ctx has ended, or it can't be had.
func (d *Daemon) sizeSoon(ctx context.Context, fs *btrfsops.Filesystem, r guardedRoot) (size uint64, unknown bool) {
	err := ctx.Err()
	if err == nil {
		size, err = d.sizeOf(ctx, fs, r)
	}
	switch {
	case err == nil:
		return size, false
	case ctx.Err() == nil:
		d.log.Warnw("size of a root", "root", r.Name, "error", err)
	}
	return 0, true
}

// facts is what the policy is told of a root.
func (r guardedRoot) facts() retention.Root {
	f := retention.Root{
		ID: uint64(r.ID), Name: r.Name, Label: r.Label, Time: r.RolledOver, Since: r.Created, Protected: reasonNames(r.Reasons),
	}
	switch {
	case r.Deleting:
		f.Leftover = retention.PartlyDeleted
	case r.Kind == btrfsops.KindDiscarded:
		f.Leftover = retention.Discarded
	}
	return f
}

// policyOf is the configured policy with what was asked for this once. total is the size of the file system, for a
// minFree in percent.
func policyOf(r config.Retention, o dbus.PruneOptions, total uint64) retention.Policy {
	const percent = 100
	free := r.MinFree
	if o.MinFree != nil {
		free = config.MinFree(*o.MinFree)
	}
	p := retention.Policy{
		KeepWithin: r.KeepWithin, KeepLast: r.KeepLast, KeepHourly: r.KeepHourly, KeepDaily: r.KeepDaily,
		KeepWeekly: r.KeepWeekly, KeepMonthly: r.KeepMonthly, KeepYearly: r.KeepYearly, KeepLabels: r.KeepLabels,
		MinFree: max(free.Bytes, uint64(float64(total)*free.Percent/percent)),
	}
	if o.KeepWithin != nil {
		p.KeepWithin = *o.KeepWithin
	}
	if o.KeepLabels != nil {
		p.KeepLabels = o.KeepLabels
	}
	for _, override := range []struct {
		asked *uint32
		count *int
	}{
		{o.KeepLast, &p.KeepLast},
		{o.KeepHourly, &p.KeepHourly},
		{o.KeepDaily, &p.KeepDaily},
		{o.KeepWeekly, &p.KeepWeekly},
		{o.KeepMonthly, &p.KeepMonthly},
		{o.KeepYearly, &p.KeepYearly},
	} {
		if override.asked != nil {
			*override.count = int(*override.asked)
		}
	}
	return p
}

// Prune starts a job that deletes what the policy does not keep.
func (d *Daemon) Prune(_ context.Context, c dbus.Caller, o dbus.PruneOptions) (uint64, error) {
	places, err := d.placesToDelete()
	if err != nil {
		return 0, toBus(err)
	}
	var devices []string
	for _, p := range places {
		devices = append(devices, p.device)
	}
	return d.start(jobs.Request{
		Operation: "prune", Sender: c.Sender, UID: c.UID, Cancelable: true, Writes: devices,
		Run: func(ctx context.Context, p *jobs.Progress) error { return d.prune(ctx, p, places, o) },
	})
}

// prune is the job.
func (d *Daemon) prune(ctx context.Context, progress *jobs.Progress, places []place, o dbus.PruneOptions) error {
	t := &tally{progress: progress, goneIsDone: true}
	run := &pruning{d, o, t}
	var err error
	for _, p := range places { // what is wrong with one must not fill the disk of another
		err = errors.Join(err, run.place(ctx, p))
		if ctx.Err() != nil {
			break
		}
	}
	if errors.Is(err, btrfsops.ErrUncleaned) {
		d.restFromSpace(d.opts.Now())
	}
	err = t.result(err)
	record := pruneRecord{Time: d.opts.Now().UTC(), Result: "done", Deleted: t.deleted, Failed: t.failed}
	if err != nil {
		record.Result = err.Error()
	}
	d.writePruneRecord(record)
	return err
}

// pruning is a prune under way.
type pruning struct {
	*Daemon
	options dbus.PruneOptions
	tally   *tally
}

// place deletes what the rules do not keep, then, while there is too little room, what is oldest.
func (r *pruning) place(ctx context.Context, p place) error {
	progress := r.tally.progress
	progress.Stage("planning")
	plan, err := r.plan(ctx, p, r.options, false)
	if err != nil {
		return err
	}
	var doomed []btrfsops.OldRoot
	short := false
	for _, decision := range retention.Removals(plan) {
		short = short || decision.Need
		if !decision.Need {
			doomed = append(doomed, doomedRoot(decision))
		}
	}
	r.tally.total += uint64(len(doomed))
	progress.Items(r.tally.done, r.tally.total, 0)
	return r.files.use(p, func(fs *btrfsops.Filesystem) error {
		progress.Stage("deleting")
		report, err := r.delete(ctx, fs, p, doomed, r.tally)
		if err != nil {
			return err
		}
		if short {
			return r.forSpace(ctx, fs, p)
		}
		if r.options.Wait {
			progress.Stage("waiting for the space")
			return fs.WaitCleaned(ctx, report.Subvolumes, r.cleaning)
		}
		return nil
	})
}

func doomedRoot(d retention.Decision) btrfsops.OldRoot {
	return btrfsops.OldRoot{ID: btrfsops.SubvolumeID(d.Root.ID), Name: d.Root.Name}
}

// cleaningPatience is how long is waited while the cleaner gets on with nothing: a program has something open in what was deleted.
const cleaningPatience = time.Minute

// forSpace deletes one root after the other until there is room. What a deletion frees is known only when the cleaner is
// done, so each is waited for, and the plan is made anew. Where that does not end nothing more is deleted.
func (r *pruning) forSpace(ctx context.Context, fs *btrfsops.Filesystem, p place) error {
	progress, failed := r.tally.progress, len(r.tally.failed)
	for {
		progress.Stage("waiting for the space")
		pending, err := fs.Uncleaned()
		if err != nil {
			return err
		}
		if err := fs.WaitCleaned(ctx, pending, r.cleaning); err != nil {
			return err
		}
		plan, err := r.plan(ctx, p, r.options, false)
		if err != nil {
			return err
		}
		next := neededNext(plan)
		if next == nil || len(r.tally.failed) > failed {
			return nil // room enough, nothing left to delete, or it can't be deleted
		}
		progress.Stage("deleting for want of space")
		r.tally.total++
		if _, err := r.delete(ctx, fs, p, next, r.tally); err != nil {
			return err
		}
	}
}

// neededNext is the root that has to go first for want of space, if one has.
func neededNext(plan []retention.Decision) []btrfsops.OldRoot {
	for _, decision := range retention.Removals(plan) {
		if decision.Need {
			return []btrfsops.OldRoot{doomedRoot(decision)}
		}
	}
	return nil
}
