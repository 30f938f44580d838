package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/impermanence/impermanence/dbus"
)

// Task is a part of the running daemon.
type Task interface {
	// Run works until ctx ends, finishes what is in flight, and returns nil; an error ends the daemon.
	Run(ctx context.Context) error
	// Ready is closed when the task does what it is for.
	Ready() <-chan struct{}
	// String names the task.
	String() string
}

// pinger is a task that can be asked whether it is alive.
type pinger interface {
	Ping(ctx context.Context) error
}

// Supervise runs the daemon with the tasks that serve it until ctx ends, a task fails, or nobody has asked for anything for
// Options.IdleExit. It says READY=1 when every task
// is ready, then looks around; it says STOPPING=1 before the tasks end, and returns when the jobs have ended too. reload
// are the requests to read the configuration again.
func (d *Daemon) Supervise(ctx context.Context, reload <-chan os.Signal, tasks ...Task) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failing := errgroup.WithContext(serving)
	for _, t := range tasks {
		group.Go(func() error {
			if err := t.Run(failing); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
			return nil
		})
	}
	group.Go(func() error { return d.attend(failing, reload, tasks) })

	select {
	case <-ctx.Done():
	case <-failing.Done():
	}
	d.status.stop()
	d.log.Infow("stopping")
	stop()
	d.jobs.Stop() // meanwhile the tasks end: who waits for a job gets its result
	err := group.Wait()
	d.Close()
	if errors.Is(err, errIdle) {
		return nil
	}
	return err
}

// attend waits until every task is ready, says so, and does what comes up while they run.
func (d *Daemon) attend(ctx context.Context, reload <-chan os.Signal, tasks []Task) error {
	for _, t := range tasks {
		select {
		case <-t.Ready():
			d.log.Debugw("ready", "task", t)
		case <-ctx.Done():
			return nil
		}
	}
	d.status.ready()
	d.log.Infow("ready", "version", d.opts.Version)
	defer d.feeding(ctx, tasks)()
	d.lookOnce()
	defer d.watching(ctx)()
	idle := d.idleTicks()
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
			if d.idleFor() >= d.opts.IdleExit {
				return errIdle
			}
		case <-reload:
			_ = d.Reload(ctx) // it has told, and logged, what is wrong
		}
	}
}

// feeding feeds the watchdog until the function that it returns is called: also while something is looked at, which may take long.
func (d *Daemon) feeding(ctx context.Context, tasks []Task) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	ticks, stop := watchdogTicks(d.log)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks:
				d.feedWatchdog(ctx, tasks)
			}
		}
	})
	return func() {
		cancel()
		stop()
		feeding.Wait()
	}
}

// watchdogTicks ticks twice in each interval in which the service manager wants a sign of life; never when it wants none.
func watchdogTicks(log dbus.Log) (ticks <-chan time.Time, stop func()) {
	interval, err := sdnotify.SdWatchdogEnabled(false)
	if err != nil {
		log.Warnw("the watchdog stays off", "error", err)
	}
	if interval <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(interval / 2)
	return ticker.C, ticker.Stop
}

// pingTimeout is how long a task may take to show that it lives.
const pingTimeout = 5 * time.Second

// feedWatchdog gives a sign of life when there is life: the jobs can be read, and the tasks answer.
func (d *Daemon) feedWatchdog(ctx context.Context, tasks []Task) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	d.jobs.Jobs()
	for _, t := range tasks {
		p, ok := t.(pinger)
		if !ok {
			continue
		}
		if err := p.Ping(ctx); err != nil {
			d.log.Errorw("no sign of life", "task", t, "error", err)
			return
		}
	}
	d.opts.Notify(sdnotify.SdNotifyWatchdog)
}
