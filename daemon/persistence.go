package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// placing is the resource of jobs that put entries in their places: one at a time.
const placing = "entries"

// ApplyPersistence starts a job that puts entries in their places: those with these targets, or all.
func (d *Daemon) ApplyPersistence(_ context.Context, c dbus.Caller, targets []string) (uint64, error) {
	cfg, wrong := d.current()
	entries, err := choose(cfg, targets)
	switch {
	case err != nil:
		return 0, err
	case len(entries) == 0 && wrong != nil:
		return 0, toBus(wrong)
	}
	objects := make([]string, len(targets))
	for i, t := range targets {
		objects[i] = string(dbus.EntryPath(t))
	}
	return d.start(jobs.Request{
		Operation: "apply-persistence", Objects: objects, Sender: c.Sender, UID: c.UID, Cancelable: true,
		Writes: []string{placing},
		Run:    func(ctx context.Context, p *jobs.Progress) error { return d.place(ctx, p, entries) },
	})
}

// choose returns the entries with these targets, all for none.
func choose(cfg *config.Config, targets []string) ([]persist.Entry, error) {
	all := cfg.Entries()
	if len(targets) == 0 {
		return all, nil
	}
	var chosen []persist.Entry
	for _, target := range targets {
		i := slices.IndexFunc(all, func(e persist.Entry) bool { return e.Target == target })
		if i < 0 {
			return nil, named(dbus.ErrNoSuchEntry, "no entry is configured for %q", target)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// place is the job.
func (d *Daemon) place(ctx context.Context, p *jobs.Progress, entries []persist.Entry) error {
	total, done := uint64(len(entries)), uint64(0)
	p.Stage("putting entries in place")
	p.Items(0, total, 0)
	report, err := d.opts.Placer.Place(ctx, entries, func(persist.Result) {
		done++
		p.Items(done, total, 0)
	})
	if err == nil {
		p.Items(total, total, 0)
		err = outcome(p, report, entries)
	}
	if lookErr := d.lookAtEntries(); lookErr != nil {
		err = errors.Join(err, lookErr)
	}
	return err
}

// outcome tells what was done to the entries that were asked for, and returns what failed.
func outcome(p *jobs.Progress, report persist.Report, entries []persist.Entry) error {
	var actions []string
	var failed failures
	placed := 0
	for _, r := range report.Results {
		if !slices.ContainsFunc(entries, func(e persist.Entry) bool { return e.Target == r.Target }) {
			continue
		}
		if r.Actions != "" {
			actions = append(actions, r.Target+": "+r.Actions)
		}
		if r.Error == "" && r.Err == nil {
			placed++
			continue
		}
		cause := r.Err
		if cause == nil {
			cause = named(dbus.ErrMountFailed, "%s", r.Error)
		}
		failed.lines = append(failed.lines, fmt.Sprintf("%s: %v", r.Target, cause))
		failed.causes = append(failed.causes, cause)
	}
	p.Detail("placed", uint64(placed))
	if len(actions) > 0 {
		p.Detail("actions", actions)
	}
	if len(failed.lines) == 0 {
		return nil
	}
	p.Detail("failed", failed.lines)
	if placed > 0 {
		return jobs.Partly(&failed)
	}
	return &failed
}

// lookAtEntries looks how the entries stand now.
func (d *Daemon) lookAtEntries() error {
	d.looking.Lock()
	defer d.looking.Unlock()
	d.readRecorded()
	cfg, _ := d.current()
	entries, err := d.inspect(context.Background(), cfg)
	d.mu.Lock()
	d.seen.entries = entries
	d.mu.Unlock()
	d.tell(dbus.EntriesChanged)
	return err
}
