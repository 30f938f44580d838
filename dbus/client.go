package dbus

import (
	"context"
	"time"
)

// ClientOptions are what a [Client] is made of. The zero value is the system bus,
// without asking anyone for a password.
type ClientOptions struct {
	// Address is the bus to use; empty for the system bus.
	Address string
	// Interactive lets polkit ask the user for a password.
	Interactive bool
}

// Client calls the daemon over the bus. Its methods may be called from several
// goroutines at once. Errors are the sentinels of this package in the sense of
// errors.Is, and [*Error] in the sense of errors.As.
type Client struct {
	conn *Conn
}

// RootEntry is a row of [Client.ListRoots].
type RootEntry struct {
	ID         uint64
	Name       string
	RolledOver time.Time
	Flags      RootFlags
}

// RootFlags are the facts of a root that a listing shows.
type RootFlags uint64

// The flags of a root in a listing. Their values never change.
const (
	RootSnapshot RootFlags = 1 << iota
	RootReadOnly
	RootPinned
	RootProtected
	RootDeleting
)

// NewClient connects to the bus. The daemon is started by the bus when it is first
// called; an error that is [ErrUnreachable] means that there is no bus.
func NewClient(ctx context.Context, o ClientOptions) (*Client, error) { return nil, ErrUnreachable }

// Close closes the connection.
func (c *Client) Close() error { return nil }

// Manager returns the properties of the manager.
func (c *Client) Manager(ctx context.Context) (Manager, error) { return Manager{}, nil }

// ListRoots lists what f selects, oldest first: the cheapest way to see all roots.
func (c *Client) ListRoots(ctx context.Context, f RootFilter) ([]RootEntry, error) { return nil, nil }

// Roots returns all roots with all their properties, oldest first.
func (c *Client) Roots(ctx context.Context) ([]Root, error) { return nil, nil }

// Entries returns all entries, sorted by target.
func (c *Client) Entries(ctx context.Context) ([]Entry, error) { return nil, nil }

// Jobs returns all jobs that the daemon still knows, oldest first.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) { return nil, nil }

// Job returns one job.
func (c *Client) Job(ctx context.Context, id uint64) (Job, error) { return Job{}, nil }

// CreateSnapshot starts a job that copies the running root.
func (c *Client) CreateSnapshot(ctx context.Context, label string) (job uint64, err error) {
	return 0, nil
}

// DeleteRoots starts a job that deletes these roots.
func (c *Client) DeleteRoots(ctx context.Context, ids []uint64) (job uint64, err error) {
	return 0, nil
}

// PlanPrune tells what Prune would do.
func (c *Client) PlanPrune(ctx context.Context, o PruneOptions) ([]PlanItem, error) { return nil, nil }

// Prune starts a job that deletes what the retention policy does not keep.
func (c *Client) Prune(ctx context.Context, o PruneOptions) (job uint64, err error) { return 0, nil }

// SetPinned pins a root, or lets retention have it again.
func (c *Client) SetPinned(ctx context.Context, id uint64, pinned bool) error { return nil }

// SetLabel changes the label of a root.
func (c *Client) SetLabel(ctx context.Context, id uint64, label string) error { return nil }

// SetNextBoot chooses what the next boot does: "fresh", "keep", or the id of an old root.
func (c *Client) SetNextBoot(ctx context.Context, value string) error { return nil }

// ApplyPersistence starts a job that puts the entries with these targets in place;
// all of them when there is none.
func (c *Client) ApplyPersistence(ctx context.Context, targets []string) (job uint64, err error) {
	return 0, nil
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error { return nil }

// Rescan makes the daemon look at the file system again.
func (c *Client) Rescan(ctx context.Context) error { return nil }

// Cancel asks a job to end early.
func (c *Client) Cancel(ctx context.Context, job uint64) error { return nil }

// Wait waits until the job has ended, and calls progress, which may be nil, whenever
// the daemon says that it got further. The error is about the waiting: how the job
// ended is in its Result and Error.
func (c *Client) Wait(ctx context.Context, job uint64, progress func(Job)) (Job, error) {
	return Job{}, nil
}
