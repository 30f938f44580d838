package dbus

import (
	"context"
	"errors"
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
	owner, p, err := c.beginWait(ctx, id)
	defer c.endWait(id)
	if err != nil {
		return Job{}, err
	}
	j := jobOf(id, p)
	for changes := 1; ; changes++ {
		progress(j)
		if j.State == JobDone {
			return j, nil
		}
		if p, err = nextChange(ctx, signals, owner, JobPath(id)); err != nil {
			return j, err
		}
		j.update(p)
		if j.State != JobDone || changes == 1 {
			continue // the one change since it was asked about: nothing of the job is older than that
		}
		p, err = c.properties(ctx, JobPath(id), jobInterface)
		switch {
		case errors.Is(err, ErrUnknownObject):
			return j, nil // this process was stopped, and the job is forgotten; how it ended was told
		case err != nil:
			return j, err
		}
		j = jobOf(id, p)
	}
}

// beginWait asks the bus for what is said about a job, who the daemon is, and the daemon for how the job is. All is sent
// at once: the bus deals with it in its order, so no change is missed, and what was before is in the properties.
func (c *Client) beginWait(ctx context.Context, id uint64) (owner string, p propertyTable, err error) {
	var asked []*godbus.Call
	ask := func(method string, arg any) {
		asked = append(asked, c.conn.BusObject().GoWithContext(ctx, busSender+"."+method, 0, make(chan *godbus.Call, 1), arg))
	}
	for _, rule := range jobRules(id) {
		ask("AddMatch", rule)
	}
	ask("GetNameOwner", BusName)
	p, err = c.properties(ctx, JobPath(id), jobInterface)
	for _, call := range asked {
		if reply := <-call.Done; reply.Err != nil {
			return "", nil, received(reply.Err)
		}
	}
	if err != nil {
		return "", nil, err
	}
	return owner, p, received(asked[len(asked)-1].Store(&owner))
}

// endWait takes back what beginWait asked the bus for. Nobody waits for the answer: the bus has one for each rule.
func (c *Client) endWait(id uint64) {
	for _, rule := range jobRules(id) {
		c.conn.BusObject().Go(busSender+".RemoveMatch", godbus.FlagNoReplyExpected, nil, rule)
	}
}

// jobRules select what is said about a job, and that the daemon leaves the bus.
func jobRules(id uint64) []string {
	return []string{
		fmt.Sprintf("type='signal',sender='%s',path='%s',interface='%s',member='PropertiesChanged'", BusName, JobPath(id), propertiesInterface),
		fmt.Sprintf("type='signal',sender='%s',interface='%[1]s',member='NameOwnerChanged',arg0='%s'", busSender, BusName),
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
