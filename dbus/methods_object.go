package dbus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

func planApplyPersistence(s *Server, c *call) (deed, error) {
	var targets []string
	for _, p := range c.args[0].([]ObjectPath) {
		o, ok := s.publisher.tree().entries.lookup(p)
		if !ok {
			return deed{}, fmt.Errorf("entry %q: %w", p, ErrNoSuchEntry)
		}
		targets = append(targets, o.value.(*Entry).Target)
	}
	return s.application(targets), c.plain(1, 2)
}

func planReload(s *Server, c *call) (deed, error) {
	return deed{do: nothing(s.config.Backend.Reload)}, c.noFlags(0)
}

func planRescan(s *Server, c *call) (deed, error) {
	return deed{do: nothing(s.config.Backend.Rescan)}, c.noFlags(0)
}

func planSetPinned(s *Server, c *call) (deed, error) {
	r, pinned := c.node.value.(*Root), c.bool(0)
	return deed{
		details: map[string]string{"roots": r.Name, "pinned": fmt.Sprint(pinned)},
		do:      nothing(func(ctx context.Context) error { return s.config.Backend.SetPinned(ctx, r.ID, pinned) }),
	}, c.plain(1, 2)
}

func planSetLabel(s *Server, c *call) (deed, error) {
	r, label := c.node.value.(*Root), c.text(0)
	if err := checkLabel(label); err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"roots": r.Name, "label": label},
		do:      nothing(func(ctx context.Context) error { return s.config.Backend.SetLabel(ctx, r.ID, label) }),
	}, c.plain(1, 2)
}

func planCancel(s *Server, c *call) (deed, error) {
	id, err := ParseJobPath(c.node.path)
	if err != nil {
		return deed{}, err
	}
	job := c.node.value.(*Job)
	if job.State == JobDone || !job.Cancelable {
		return deed{}, fmt.Errorf("job %d (%s): %w", id, job.Operation, ErrNotCancelable)
	}
	return deed{
		owner:   &job.StartedByUID,
		details: map[string]string{"operation": job.Operation, "job": fmt.Sprint(id)},
		do:      nothing(func(ctx context.Context) error { return s.config.Backend.CancelJob(ctx, id) }),
	}, c.plain(0, 1)
}

// planWait answers with the result of the job, or with nothing when the time is over.
func planWait(s *Server, c *call) (deed, error) {
	id, err := ParseJobPath(c.node.path)
	if err != nil {
		return deed{}, err
	}
	timeout := time.Duration(math.MaxInt64)
	if usec := c.uint64(0); usec > 0 && usec < uint64(timeout/time.Microsecond) {
		timeout = time.Duration(usec) * time.Microsecond
	}
	return deed{parks: true, do: func(ctx context.Context, _ Caller) (body, error) {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		job, err := s.config.Backend.WaitJob(limited, id)
		if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
			job, err = Job{}, nil
		}
		return body{"sss", func(e *encoder) {
			e.string(string(job.Result))
			e.string(job.Error.Name)
			e.string(job.Error.Message)
		}}, err
	}}, nil
}
