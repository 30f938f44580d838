package dbus

import (
	"context"
	"fmt"
	"strconv"

	godbus "github.com/godbus/dbus/v5"
)

// Wait waits until the job has ended, and calls progress, which may be nil, with
// what is known of it at first and whenever the daemon says that it got further. The
// error is about the waiting: how the job ended is in its Result and Error. A daemon
// that leaves the bus meanwhile is [ErrUnreachable]; the job may go on when it is back.
func (c *Client) Wait(ctx context.Context, job uint64, progress func(Job)) (Job, error) {
	if progress == nil {
		progress = func(Job) {}
	}
	j, err := c.wait(ctx, job, progress)
	return j, wrapf(noSuchJob(err), "wait for job "+strconv.FormatUint(job, 10))
}

func (c *Client) wait(ctx context.Context, id uint64, progress func(Job)) (Job, error) {
	signals := make(chan *godbus.Signal, 16)
	c.conn.Signal(signals)
	defer c.conn.RemoveSignal(signals)
	for _, rule := range jobRules(id) {
		if err := c.conn.AddMatchSignalContext(ctx, rule...); err != nil {
			return Job{}, received(err)
		}
		defer c.conn.RemoveMatchSignal(rule...) //nolint:errcheck // the bus forgets it with the connection
	}
	// From here on no change is missed, and what was before is in the properties.
	p, err := c.properties(ctx, JobPath(id), jobInterface)
	if err != nil {
		return Job{}, err
	}
	var owner string
	if err := c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, BusName).Store(&owner); err != nil {
		return Job{}, received(err)
	}
	j := jobOf(id, p)
	for {
		progress(j)
		if j.State == JobDone {
			return j, nil
		}
		if p, err = nextChange(ctx, signals, owner, JobPath(id)); err != nil {
			return j, err
		}
		j.update(p)
		if j.State != JobDone {
			continue
		}
		if p, err = c.properties(ctx, JobPath(id), jobInterface); err != nil {
			return j, err
		}
		j = jobOf(id, p)
	}
}

// jobRules select what is said about a job, and that the daemon leaves the bus.
func jobRules(id uint64) [][]godbus.MatchOption {
	return [][]godbus.MatchOption{
		{
			godbus.WithMatchSender(BusName), godbus.WithMatchObjectPath(JobPath(id)),
			godbus.WithMatchInterface(propertiesInterface), godbus.WithMatchMember("PropertiesChanged"),
		},
		{
			godbus.WithMatchSender(busSender), godbus.WithMatchInterface(busSender),
			godbus.WithMatchMember("NameOwnerChanged"), godbus.WithMatchArg(0, BusName),
		},
	}
}

// nextChange waits for the next change of the job. Anybody may send a client a
// signal: only the owner of the name and the bus itself are believed.
func nextChange(ctx context.Context, signals <-chan *godbus.Signal, owner string, path ObjectPath) (propertyTable, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case s, ok := <-signals:
			switch {
			case !ok:
				return nil, fmt.Errorf("the bus closed the connection: %w", ErrUnreachable)
			case s.Sender == busSender && s.Name == busSender+".NameOwnerChanged" && len(s.Body) == 3 && s.Body[0] == BusName:
				return nil, fmt.Errorf("the daemon left the bus: %w", ErrUnreachable)
			case s.Sender == owner && s.Path == path && len(s.Body) == 3:
				changed, _ := s.Body[1].(map[string]godbus.Variant)
				return changed, nil
			}
		}
	}
}
