package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// ClientOptions are what a [Client] is made of. The zero value is the system bus,
// without asking anyone for a password.
type ClientOptions struct {
	// Address is the bus to use; empty for the system bus.
	Address string
	// Peer is a connection to a daemon that serves this process alone, instead of a bus;
	// see ServerConfig.Peer.
	Peer io.ReadWriteCloser
	// Interactive lets polkit ask the user for a password.
	Interactive bool
}

// Client calls the daemon over the bus. Its methods may be called from several
// goroutines at once. Errors are the sentinels of this package in the sense of
// errors.Is; one that the daemon sent is an [*Error] in the sense of errors.As.
type Client struct {
	conn        *Conn
	interactive bool
}

// NewClient connects to the bus. The daemon is started by the bus when it is first
// called; an error that is [ErrUnreachable] means that there is no bus. When ctx ends
// the client is closed.
func NewClient(ctx context.Context, o ClientOptions) (*Client, error) {
	conn, err := o.dial(ctx)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, interactive: o.Interactive}, nil
}

func (o *ClientOptions) dial(ctx context.Context) (*Conn, error) {
	t := newTransport(o.Peer, nil)
	if o.Peer == nil {
		var err error
		if t, err = open(ctx, o.Address, nil); err != nil {
			return nil, err
		}
	}
	t.longestSignal = maxReplySize
	return authenticate(ctx, t)
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// call calls a method and stores its results.
func (c *Client) call(ctx context.Context, path ObjectPath, iface, member string, args, results []any) error {
	message := &godbus.Message{
		Type: godbus.TypeMethodCall,
		Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldDestination: godbus.MakeVariant(BusName),
			godbus.FieldPath:        godbus.MakeVariant(path),
			godbus.FieldInterface:   godbus.MakeVariant(iface),
			godbus.FieldMember:      godbus.MakeVariant(member),
		},
		Body: args,
	}
	if c.interactive {
		message.Flags |= godbus.FlagAllowInteractiveAuthorization // Object.Call would drop it
	}
	if len(args) > 0 {
		message.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(args...))
	}
	reply := <-c.conn.SendWithContext(ctx, message, make(chan *godbus.Call, 1)).Done
	if reply.Err != nil {
		return received(reply.Err)
	}
	if err := godbus.Store(reply.Body, results...); err != nil {
		return fmt.Errorf("reply of %s: %w: %w", member, ErrInternal, err)
	}
	return nil
}

// manage calls a method of the manager.
func (c *Client) manage(ctx context.Context, member string, args, results []any) error {
	return c.call(ctx, ManagerPath, managerInterface, member, args, results)
}

// start calls a method of the manager that starts a job.
func (c *Client) start(ctx context.Context, member string, args ...any) (uint64, error) {
	var job ObjectPath
	if err := c.manage(ctx, member, args, []any{&job}); err != nil {
		return 0, err
	}
	return ParseJobPath(job)
}

type options = map[string]godbus.Variant

const noFlags = uint64(0)

// CreateSnapshot starts a job that copies the running root.
func (c *Client) CreateSnapshot(ctx context.Context, label string) (job uint64, err error) {
	job, err = c.start(ctx, "CreateSnapshot", label, options{}, noFlags)
	return job, wrapf(err, "create snapshot")
}

// DeleteRoots starts a job that deletes these roots.
func (c *Client) DeleteRoots(ctx context.Context, ids []uint64) (job uint64, err error) {
	paths := make([]ObjectPath, len(ids))
	for i, id := range ids {
		paths[i] = RootPath(id)
	}
	job, err = c.start(ctx, "DeleteRoots", paths, options{}, noFlags)
	return job, wrapf(err, "delete roots")
}

// Prune starts a job that deletes what the retention policy does not keep.
func (c *Client) Prune(ctx context.Context, o PruneOptions) (job uint64, err error) {
	table := o.policy()
	if o.Wait {
		table["wait"] = godbus.MakeVariant(true)
	}
	job, err = c.start(ctx, "Prune", table, noFlags)
	return job, wrapf(err, "prune")
}

// PlanPrune tells what Prune would do.
func (c *Client) PlanPrune(ctx context.Context, o PruneOptions) ([]PlanItem, error) {
	var rows []struct {
		Root    ObjectPath
		Verdict string
		Details map[string]godbus.Variant
	}
	if err := c.manage(ctx, "PlanPrune", []any{o.policy(), noFlags}, []any{&rows}); err != nil {
		return nil, wrapf(err, "plan prune")
	}
	items := make([]PlanItem, len(rows))
	for i, row := range rows {
		id, err := ParseRootPath(row.Root)
		if err != nil {
			return nil, wrapf(err, "plan prune")
		}
		items[i] = PlanItem{Root: id, Remove: row.Verdict == "remove"}
		items[i].Name, _ = row.Details["name"].Value().(string)
		items[i].Reasons, _ = row.Details["reasons"].Value().([]string)
	}
	return items, nil
}

// policy are the options that override the configured retention policy.
func (o *PruneOptions) policy() options {
	table := options{}
	if o.KeepWithin != nil {
		table["keepWithinUSec"] = godbus.MakeVariant(uint64(o.KeepWithin.Microseconds()))
	}
	if o.MinFree != nil {
		table["minFreeBytes"] = godbus.MakeVariant(o.MinFree.Bytes)
		table["minFreePercent"] = godbus.MakeVariant(o.MinFree.Percent)
	}
	if o.KeepLabels != nil {
		table["keepLabels"] = godbus.MakeVariant(o.KeepLabels)
	}
	for key, field := range o.counts() {
		if *field != nil {
			table[key] = godbus.MakeVariant(**field)
		}
	}
	return table
}

// SetPinned pins a root, or lets retention have it again.
func (c *Client) SetPinned(ctx context.Context, id uint64, pinned bool) error {
	return c.changeRoot(ctx, id, "SetPinned", pinned)
}

// SetLabel changes the label of a root.
func (c *Client) SetLabel(ctx context.Context, id uint64, label string) error {
	return c.changeRoot(ctx, id, "SetLabel", label)
}

func (c *Client) changeRoot(ctx context.Context, id uint64, member string, value any) error {
	err := c.call(ctx, RootPath(id), rootInterface, member, []any{value, options{}, noFlags}, nil)
	return wrapf(noSuchRoot(err, id), "change root "+strconv.FormatUint(id, 10))
}

// SetNextBoot chooses what the next boot does: "fresh", "keep", or the id of an old
// root that it takes a copy of.
func (c *Client) SetNextBoot(ctx context.Context, value string) error {
	return wrapf(c.manage(ctx, "SetNextBoot", []any{value, options{}, noFlags}, nil), "set next boot")
}

// ApplyPersistence starts a job that puts the entries with these targets in place;
// all of them when there is none.
func (c *Client) ApplyPersistence(ctx context.Context, targets []string) (job uint64, err error) {
	paths := make([]ObjectPath, len(targets))
	for i, target := range targets {
		paths[i] = EntryPath(target)
	}
	job, err = c.start(ctx, "ApplyPersistence", paths, options{}, noFlags)
	return job, wrapf(err, "apply persistence")
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return wrapf(c.manage(ctx, "Reload", []any{noFlags}, nil), "reload")
}

// Rescan makes the daemon look at the file system again.
func (c *Client) Rescan(ctx context.Context) error {
	return wrapf(c.manage(ctx, "Rescan", []any{noFlags}, nil), "rescan")
}

// Cancel asks a job to end early. It may still end as done.
func (c *Client) Cancel(ctx context.Context, job uint64) error {
	err := c.call(ctx, JobPath(job), jobInterface, "Cancel", []any{options{}, noFlags}, nil)
	return wrapf(noSuchJob(err), "cancel job "+strconv.FormatUint(job, 10))
}

func noSuchRoot(err error, id uint64) error {
	if errors.Is(err, ErrUnknownObject) || id == 0 {
		return ErrNoSuchRoot
	}
	return err
}

func noSuchJob(err error) error {
	if errors.Is(err, ErrUnknownObject) {
		return ErrNoSuchJob
	}
	return err
}

func wrapf(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// fromUSec is the time that a number of microseconds stands for.
func fromUSec(usec uint64) time.Time {
	if usec == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(usec))
}
