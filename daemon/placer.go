package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"

	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// Placer puts entries in their places.
type Placer interface {
	// Place puts all entries in their places, or has all of them put there, and returns what became of each. done, which
	// may be nil, is called for each one when it is known meanwhile. The error is that of the whole; what happened to one
	// entry stands in its result.
	Place(ctx context.Context, entries []persist.Entry, done func(persist.Result)) (persist.Report, error)
	// Change begins or ends to keep an entry. What went wrong is in the reply; the error is about getting one.
	Change(ctx context.Context, r change.Request) (change.Reply, error)
	// Watch has those files watched anew that are copied back, as other entries are kept now.
	Watch(ctx context.Context) error
}

// The services that PID 1 is asked to start. What they mount is for the whole machine to see.
const (
	PersistUnit  = "impermanence-persist.service"   // puts all entries in place
	ChangeUnit   = "impermanence-change.service"    // begins or ends to keep an entry
	CopyBackUnit = "impermanence-copy-back.service" // watches what is copied back
)

// copiesName is the name of a mark in the runtime directory, a condition of CopyBackUnit: what is copied back is no longer what it was when
// early boot may have left another mark, that there is nothing.
const copiesName = "copies"

// NewPlacer returns the placer that fits. A service of the running system is sandboxed, so its mounts are invisible to the
// host: there PID 1 does it. Elsewhere, in a rescue shell or for another sysroot, this process does.
func NewPlacer(opts Options) Placer {
	if opts.Sysroot == "/" && os.Getenv("INVOCATION_ID") != "" && util.IsRunningSystemd() {
		return unitPlacer{opts.RunDir}
	}
	return NewDirectPlacer(opts)
}

// NewDirectPlacer returns a placer that puts entries in their places in this process, as a rescue shell does.
func NewDirectPlacer(opts Options) Placer {
	return directPlacer{opts, change.Options{Config: opts.Config, Sysroot: opts.Sysroot}}
}

// directPlacer mounts in this process.
type directPlacer struct {
	opts   Options
	change change.Options
}

func (p directPlacer) Change(ctx context.Context, r change.Request) (change.Reply, error) {
	return change.Carry(ctx, p.change, r), nil
}

// Watch does nothing: nobody watches where no service manager runs.
func (directPlacer) Watch(context.Context) error { return nil }

func (p directPlacer) Place(ctx context.Context, entries []persist.Entry, done func(persist.Result)) (persist.Report, error) {
	cfg, err := config.Load(p.opts.Config)
	if err != nil {
		return persist.Report{}, toBus(err)
	}
	roots := p.opts.formerRoots(cfg)
	defer roots.Close()
	opts := cfg.In(p.opts.Sysroot)
	opts.Running, opts.Former, opts.Template, opts.Done = true, roots.Named, roots.Templates, done
	report, err := persist.Apply(ctx, opts, entries)
	if len(report.Results) > 0 && ctx.Err() == nil {
		err = nil // it joins the errors of the results
	}
	return report, err
}

// formerRoots finds the roots that entries are still to be taken from.
func (o Options) formerRoots(cfg *config.Config) *former.Roots {
	warn := func(format string, args ...any) { o.Log.Warnw(fmt.Sprintf(format, args...)) }
	return former.New(former.Options{Config: cfg, Sysroot: o.Sysroot, RunDir: o.RunDir, Device: o.Device, Warn: warn})
}

// unitPlacer starts services, which do it and leave a report.
type unitPlacer struct{ runDir string }

func (p unitPlacer) Place(ctx context.Context, _ []persist.Entry, _ func(persist.Result)) (persist.Report, error) {
	earlier, _ := os.Stat(p.reportFile())
	how, err := startUnit(ctx, PersistUnit)
	if err != nil {
		return persist.Report{}, err
	}
	return p.report(earlier, how)
}

func (p unitPlacer) Change(ctx context.Context, r change.Request) (change.Reply, error) {
	if err := change.WriteRequest(p.runDir, r); err != nil {
		return change.Reply{}, err
	}
	how, err := startUnit(ctx, ChangeUnit)
	reply, errRead := change.ReadReply(p.runDir, r.ID)
	switch {
	case errRead == nil:
		return reply, nil // whatever became of the service after it
	case err != nil:
		return change.Reply{}, err
	}
	return change.Reply{}, fmt.Errorf("%s ended as %q without an answer (%w): see journalctl -u %s", ChangeUnit, how, errRead, ChangeUnit)
}

func (p unitPlacer) Watch(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(p.runDir, copiesName), nil, 0o644); err != nil {
		return fmt.Errorf("start %s: %w", CopyBackUnit, err)
	}
	how, err := asked(ctx, CopyBackUnit, p.unlessBeginning(uncounted((*systemd.Conn).RestartUnitContext)))
	if err == nil && how != "done" {
		err = fmt.Errorf("%s ended as %q: see journalctl -u %s", CopyBackUnit, how, CopyBackUnit)
	}
	return err
}

// unlessBeginning does so with CopyBackUnit, unless that is just being started for the first time in this boot: then it reads what is to be
// watched now.
func (p unitPlacer) unlessBeginning(do asking) asking {
	return func(c *systemd.Conn, ctx context.Context, unit, mode string, result chan<- string) (int, error) {
		if _, err := os.Lstat(filepath.Join(p.runDir, watchedName)); errors.Is(err, fs.ErrNotExist) {
			state, err := c.GetUnitPropertyContext(ctx, unit, "ActiveState")
			if err == nil && state.Value.Value() == "active" {
				result <- "done"
				return 0, nil
			}
		}
		return do(c, ctx, unit, mode, result)
	}
}

// startUnit starts a oneshot service and returns how its job ended. When ctx ends before, the service is stopped.
func startUnit(ctx context.Context, unit string) (how string, err error) {
	return asked(ctx, unit, uncounted((*systemd.Conn).StartUnitContext))
}

// asking is what PID 1 can be asked to do with a unit.
type asking func(c *systemd.Conn, ctx context.Context, unit, mode string, result chan<- string) (int, error)

// uncounted starts a unit however often that was done lately: PID 1 refuses the sixth start in ten seconds of one that it has loaded all the
// time, which is meant for what crashes.
func uncounted(start asking) asking {
	return func(c *systemd.Conn, ctx context.Context, unit, mode string, result chan<- string) (int, error) {
		_ = c.ResetFailedUnitContext(ctx, unit) // one that is not loaded has no count
		return start(c, ctx, unit, mode, result)
	}
}

// asked has PID 1 do something with a unit.
func asked(ctx context.Context, unit string, do asking) (how string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	dialing, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	var lost <-chan struct{}
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		c, err := dbus.Dial(dialing)
		if err == nil {
			lost = c.Context().Done()
		}
		return c, err
	})
	if err != nil {
		return "", fmt.Errorf("ask the service manager to start %s: %w", unit, err)
	}
	defer conn.Close()
	result := make(chan string, 1)
	if _, err := do(conn, dialing, unit, "replace", result); err != nil { // what PID 1 was asked it does, whoever waits for the answer
		return "", fmt.Errorf("start %s: %w", unit, err)
	}
	select {
	case how := <-result:
		return how, nil
	case <-lost:
		return "", errLost(unit)
	case <-ctx.Done():
	}
	stopped := make(chan string, 1)
	if _, err := conn.StopUnitContext(dialing, unit, "replace", stopped); err != nil {
		return "", fmt.Errorf("stop %s: %w", unit, err)
	}
	select {
	case <-stopped: // by then it has left its answer; the unit bounds how long that takes
	case <-lost:
		return "", errLost(unit)
	}
	return "", ctx.Err()
}

// errLost is about a bus that went away before it told how a unit's job ended.
func errLost(unit string) error {
	return named(dbus.ErrInternal, "the bus is gone, and what became of %s is not known: see journalctl -u %s", unit, unit)
}

// reportFile is where PersistUnit leaves its report: each in a file of its own, which takes the place of the one before.
func (p unitPlacer) reportFile() string { return filepath.Join(p.runDir, "persist.json") }

// report reads what the unit left, and tells it from what an earlier run has left, if anything.
func (p unitPlacer) report(earlier os.FileInfo, how string) (persist.Report, error) {
	info, err := os.Stat(p.reportFile())
	if err != nil || earlier != nil && os.SameFile(earlier, info) && earlier.ModTime().Equal(info.ModTime()) {
		return persist.Report{}, named(dbus.ErrMountFailed, "%s ended as %q without a report: see journalctl -u %s", PersistUnit, how, PersistUnit)
	}
	var report persist.Report
	data, err := os.ReadFile(p.reportFile())
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return persist.Report{}, fmt.Errorf("read the report of %s: %w", PersistUnit, err)
	}
	return report, nil
}
