package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// deeds are the words of the bus for what can be done with an entry, with the name of the job.
var deeds = map[dbus.EntryDeed]struct {
	deed      change.Deed
	operation string
}{
	dbus.AddEntry:     {change.Add, "add-persistence"},
	dbus.RemoveEntry:  {change.Remove, "remove-persistence"},
	dbus.UnmountEntry: {change.Unmount, "unmount-entry"},
}

// CheckEntryChange tells what is wrong with a change as far as the configuration knows.
func (d *Daemon) CheckEntryChange(_ context.Context, c dbus.EntryChange) error {
	request, err := requestOf(c)
	if err != nil {
		return err
	}
	cfg, wrong := d.current()
	if wrong != nil && len(cfg.Volumes) == 0 {
		return toBus(wrong)
	}
	_, _, err = change.Decide(cfg, d.opts.Sysroot, request)
	return toBus(err)
}

// ChangeEntry starts a job that begins or ends to keep an entry, or takes its mount away.
func (d *Daemon) ChangeEntry(ctx context.Context, caller dbus.Caller, c dbus.EntryChange) (uint64, error) {
	if err := d.CheckEntryChange(ctx, c); err != nil {
		return 0, err
	}
	request, err := requestOf(c)
	if err != nil {
		return 0, err
	}
	return d.start(jobs.Request{
		Operation: deeds[c.Deed].operation, Objects: []string{string(dbus.EntryPath(c.Target))},
		Sender: caller.Sender, UID: caller.UID, Cancelable: true, Writes: []string{placing},
		Run: func(ctx context.Context, p *jobs.Progress) error { return d.change(ctx, p, request) },
	})
}

// requestOf is a change in the words of those who carry it out.
func requestOf(c dbus.EntryChange) (change.Request, error) {
	r := change.Request{
		Deed: deeds[c.Deed].deed, Target: c.Target, Volume: c.Volume, Kind: c.Kind,
		User: c.User, Group: c.Group, Mode: c.Mode, NextBoot: c.NextBoot, DryRun: c.DryRun,
	}
	if c.Method == "" {
		return r, nil
	}
	if err := r.Method.UnmarshalText([]byte(c.Method)); err != nil {
		return r, named(dbus.ErrInvalidArgs, "method: %w", err)
	}
	return r, nil
}

// change is the job.
func (d *Daemon) change(ctx context.Context, p *jobs.Progress, r change.Request) error {
	r.ID = d.opts.Now().UTC().Format("20060102T150405.000000000") + "-" + strconv.FormatUint(p.Job(), 10)
	reply, err := d.opts.Placer.Change(ctx, r)
	if err == nil {
		showReply(p, r, reply)
		err = reply.Err()
	}
	if r.DryRun {
		return err
	}
	if lookErr := d.lookAtEntries(); lookErr != nil {
		d.log.Warnw("look at the entries after a change", "error", lookErr)
	}
	d.watchCopies(ctx)
	return err
}

// watchedName is the name of the file in the runtime directory in which CopyBackUnit says what it watches. It is not there before that has begun
// in this boot.
const watchedName = "watched.json"

// watchedRecord is what it holds.
type watchedRecord struct {
	Sources []string `json:"sources"`
}

// sayWatched is what CopyBackUnit does before it watches, and with none before it reads what it is to watch, and at its end.
func (o Options) sayWatched(sources []string) {
	if err := o.writeRecord(watchedName, watchedRecord{sources}); err != nil {
		o.Log.Warnw("say what is copied back", "error", err)
	}
}

// watchCopies has those files watched that are copied back, when they are others than CopyBackUnit says. It has read the same configuration as
// this daemon, or an older one; with a wrong one it would not watch what it does. That is done wholly, whoever has asked for it.
func (d *Daemon) watchCopies(ctx context.Context) {
	cfg, wrong := d.current()
	d.mu.Lock()
	wrong = errors.Join(wrong, d.unread)
	d.mu.Unlock()
	var watched watchedRecord
	if err := d.opts.readRecord(watchedName, &watched); err != nil {
		d.log.Warnw("what is copied back now is not known", "error", err)
	}
	if wrong != nil || slices.Equal(watched.Sources, copiesOf(cfg)) {
		return
	}
	if err := d.opts.Placer.Watch(context.WithoutCancel(ctx)); err != nil {
		d.log.Errorw("what is copied back is not watched", "error", err)
	}
}

// copiesOf lists the sources of what is copied back.
func copiesOf(cfg *config.Config) []string {
	var copies []string
	for _, e := range cfg.Entries() {
		if e.Method == persist.Copy {
			copies = append(copies, e.Source)
		}
	}
	return copies
}

// showReply makes what was planned and done details of the job.
func showReply(p *jobs.Progress, r change.Request, reply change.Reply) {
	plan, why := make([]string, len(reply.Plan)), make([]string, len(reply.Plan))
	for i, line := range reply.Plan {
		plan[i], why[i] = line.What, line.Why
	}
	p.Detail("plan", plan)
	p.Detail("reasons", why)
	p.Detail("dryRun", r.DryRun)
	p.Detail("nextBoot", r.NextBoot)
	if len(reply.Writers) > 0 {
		p.Detail("writers", reply.Writers)
	}
	if reply.Done != "" {
		p.Detail("actions", []string{r.Target + ": " + reply.Done})
	}
}

// Orphans lists what lies on persistent volumes and no entry declares.
func (d *Daemon) Orphans(ctx context.Context, volume string) ([]dbus.Orphan, error) {
	d.used()
	d.readAgain()
	cfg, wrong := d.current()
	d.mu.Lock()
	wrong = errors.Join(wrong, d.unread)
	d.mu.Unlock()
	if wrong != nil { // with entries that are not known all would seem undeclared
		return nil, toBus(wrong)
	}
	var orphans []dbus.Orphan
	var problems []error
	known := false
	for _, v := range cfg.Volumes {
		if volume != "" && volume != v.Path {
			continue
		}
		known = true
		if err := ctx.Err(); err != nil {
			return nil, toBus(err)
		}
		found, err := persist.Orphans(cfg.In(d.opts.Sysroot), v.Path, cfg.Entries())
		problems = append(problems, err)
		for _, o := range found {
			orphans = append(orphans, dbus.Orphan{Path: o.Path, Kind: o.Kind.Name(), Volume: v.Path})
		}
	}
	if !known && volume != "" {
		return nil, named(dbus.ErrInvalidArgs, "%q is no persistent volume", volume)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, toBus(fmt.Errorf("list orphans: %w", err))
	}
	return orphans, nil
}
