package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// await waits until a job has ended and returns how. An interrupt cancels the job, and waits on for what it still did;
// a second one ends this process and leaves the job to the daemon, which without a bus ends after the job.
func (a *app) await(ctx context.Context, id uint64) (dbus.Job, error) {
	p := newProgress(a.stderr, time.Now)
	job, err := a.client.Wait(ctx, id, p.update)
	p.clear()
	if ctx.Err() == nil {
		return job, err
	}
	lasting := context.WithoutCancel(ctx)
	if a.own != nil {
		a.stderr.line("canceling; interrupt again not to wait for its end")
	} else {
		a.stderr.line("canceling; interrupt again to leave the job to the daemon")
	}
	err = a.client.Cancel(lasting, id)
	if errors.Is(err, dbus.ErrNotCancelable) {
		a.stderr.line("it can no longer be canceled: waiting for its end")
	}
	job, err = a.client.Wait(lasting, id, p.update)
	p.clear()
	return job, err
}

// outcome returns the error that a job that has ended stands for; nil when it did all that it was asked to.
func outcome(job dbus.Job) error {
	cause := &dbus.Error{Name: job.Error.Name, Message: job.Error.Message}
	switch job.Result {
	case dbus.ResultDone:
		return nil
	case dbus.ResultPartial:
		return fmt.Errorf("%s: %w: %w", job.Operation, errPartly, cause)
	case dbus.ResultCanceled:
		if job.ItemsDone > 0 {
			return fmt.Errorf("%s: %w: %w after %d of %d", job.Operation, errPartly, dbus.ErrCanceled, job.ItemsDone, job.ItemsTotal)
		}
		return fmt.Errorf("%s: %w before anything was done", job.Operation, dbus.ErrCanceled)
	case dbus.ResultFailed, dbus.ResultNone:
		return fmt.Errorf("%s: %w", job.Operation, cause)
	default:
		return fmt.Errorf("%s: unknown result %q", job.Operation, job.Result)
	}
}
