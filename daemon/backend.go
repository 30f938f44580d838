package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

// Manager tells what the daemon knows without looking: it has looked before the first answer.
func (d *Daemon) Manager() dbus.Manager {
	d.lookOnce()
	m := dbus.Manager{Version: d.opts.Version, ActiveJobs: []uint64{}}
	for _, j := range d.jobs.Jobs() {
		if j.State != jobs.Done {
			m.ActiveJobs = append(m.ActiveJobs, j.ID)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m.Filesystem, m.BootedRoot, m.NextBoot = d.seen.filesystem, d.seen.booted, d.seen.next
	m.LastRollover, m.LastPrune, m.ReloadNeeded = d.seen.boot, d.seen.lastPrune, d.reloadNeeded
	m.Losses = d.knownLosses()
	if wrong := errors.Join(d.wrong, d.unread); wrong != nil {
		m.ConfigurationErrors = strings.Split(wrong.Error(), "\n")
	}
	return m
}

// Entries tells how the entries stood when they were looked at last.
func (d *Daemon) Entries() []dbus.Entry {
	d.lookOnce()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen.entries)
}

// Jobs lists the jobs that have not ended, and those that ended lately.
func (d *Daemon) Jobs() []dbus.Job {
	list := d.jobs.Jobs()
	shown := make([]dbus.Job, len(list))
	for i, j := range list {
		shown[i] = show(j)
	}
	return shown
}

// show is a job as the bus shows it.
func show(j jobs.Job) dbus.Job {
	objects := make([]dbus.ObjectPath, len(j.Objects))
	for i, o := range j.Objects {
		objects[i] = dbus.ObjectPath(o)
	}
	return dbus.Job{
		ID: j.ID, Operation: j.Operation, Objects: objects, StartedByUID: j.UID, Started: j.Started,
		State: dbus.JobState(j.State), Progress: j.Progress, ProgressValid: j.ProgressValid, Stage: j.Stage,
		ItemsDone: j.ItemsDone, ItemsTotal: j.ItemsTotal, Cancelable: j.Cancelable,
		Result: dbus.JobResult(j.Result), Error: errorInfo(j.Err), Details: j.Details,
	}
}

// CancelJob tells a job to end early.
func (d *Daemon) CancelJob(_ context.Context, id uint64) error { return toBus(d.jobs.Cancel(id)) }

// WaitJob returns a job when it has ended.
func (d *Daemon) WaitJob(ctx context.Context, id uint64) (dbus.Job, error) {
	j, err := d.jobs.Wait(ctx, id)
	return show(j), toBus(err)
}

// Reload reads the configuration again. A wrong one changes nothing but what is told of it: the last good one stays in
// force.
func (d *Daemon) Reload(ctx context.Context) error {
	d.used()
	ctx = context.WithoutCancel(ctx) // who asked may leave: what is read is to be in force, and what is copied back watched
	d.loading.Lock()
	defer d.loading.Unlock()
	d.status.reloading()
	defer d.status.reloaded()

	loaded, contents, err := load(d.opts.Config)
	d.mu.Lock()
	d.wrong, d.contents, d.reloadNeeded = err, contents, false
	if err == nil {
		d.loaded = loaded
	}
	d.mu.Unlock()
	if err != nil {
		d.log.Errorw("the configuration is wrong, the one before stays in force", "error", err)
		d.tell(dbus.ManagerChanged)
		return err
	}
	d.log.Infow("configuration read")
	if err := d.Rescan(ctx); err != nil {
		d.log.Warnw("look around after a reload", "error", err)
	}
	d.watchCopies(ctx)
	return nil
}

// load reads the configuration. Its error has the name that it has on the bus. The contents are the older of the two: what
// changes meanwhile differs from them.
func load(opts config.LoadOptions) (*config.Config, string, error) {
	contents, err := opts.Contents()
	if err != nil {
		return nil, contents, &busError{err, dbus.ErrInvalidConfiguration}
	}
	loaded, err := config.Load(opts)
	if err != nil {
		return nil, contents, &busError{err, dbus.ErrInvalidConfiguration}
	}
	return loaded, contents, nil
}
