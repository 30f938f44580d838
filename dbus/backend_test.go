package dbus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// backend is a daemon in memory: what the server sees of the real one.
type backend struct {
	changed func(dbus.Change)

	mu      sync.Mutex
	manager dbus.Manager
	roots   []dbus.Root
	entries []dbus.Entry
	jobs    []dbus.Job
	ended   map[uint64]chan struct{}
	fail    error // what the next changing call returns
	panics  bool  // whether the next changing call panics
	calls   []string
	level   string
	pruned  func(job uint64) // what pruning does, in a goroutine of its own
	planned chan struct{}    // closed when plans are made; nil: at once
	plan    []dbus.PlanItem  // what they are; nil: something short
	forgets bool             // whether no job is known any more
	numbers func(context.Context, dbus.Caller, *dbus.Stream) (uint64, error)
}

func newBackend() *backend {
	base := time.Date(2026, 11, 23, 7, 54, 0, 0, time.UTC)
	b := &backend{
		changed: func(dbus.Change) {},
		ended:   map[uint64]chan struct{}{},
		level:   "info",
		manager: dbus.Manager{
			Version: "1.2.3", Filesystem: "01234567-89ab-cdef-0123-456789abcdef", BootedRoot: 300, NextBoot: "fresh",
			LastRollover: map[string]any{"outcome": "fresh", "durationUSec": uint64(1234)},
			LastPrune:    base.Add(time.Hour),
			Losses:       dbus.Losses{Count: 12, Bytes: 3456, Looked: base.Add(2 * time.Hour)},
		},
		entries: []dbus.Entry{
			{Target: "/etc/machine-id", Source: "/persist/etc/machine-id", Kind: "file", Method: "bind", State: "in-place", Origin: "a.toml:3"},
			{Target: "/var/log", Source: "/persist/var/log", Kind: "directory", Method: "auto", User: "root", Mode: 0o755, State: "failed", LastError: dbus.InfoOf(dbus.ErrMountBusy)},
		},
	}
	for i := range 3 {
		b.roots = append(b.roots, dbus.Root{
			ID: uint64(257 + i), Name: fmt.Sprintf("20261123T0%d0000Z-%d", i, 257+i), Kind: "old", Path: fmt.Sprintf("old_roots/\xff%d", i),
			UUID: "x", BootID: "b", Created: base, RolledOver: base.Add(time.Duration(i) * time.Hour), Size: 4096,
		})
	}
	b.roots[2].ProtectReasons = []string{"newest"}
	return b
}

// update changes the state and tells the server.
func (b *backend) update(what dbus.Change, change func()) {
	b.mu.Lock()
	change()
	b.mu.Unlock()
	b.changed(what)
}

func (b *backend) Manager() dbus.Manager {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.manager
	for _, j := range b.jobs {
		if j.State != dbus.JobDone {
			m.ActiveJobs = append(m.ActiveJobs, j.ID)
		}
	}
	return m
}

func (b *backend) Roots(_ context.Context, f dbus.RootFilter) ([]dbus.Root, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []dbus.Root
	for _, r := range b.roots {
		if (f.Kind == "" || f.Kind == r.Kind) && (f.Pinned == nil || *f.Pinned == r.Pinned) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (b *backend) Entries() []dbus.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.entries)
}

func (b *backend) Jobs() []dbus.Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forgets {
		return nil
	}
	return slices.Clone(b.jobs)
}

// called notes a call, and fails or panics when the test wants that.
func (b *backend) called(format string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
	if b.panics {
		panic("the backend is broken")
	}
	return b.fail
}

func (b *backend) log() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// start adds a job that runs until end.
func (b *backend) start(c dbus.Caller, operation string) uint64 {
	var id uint64
	b.update(dbus.JobsChanged, func() {
		id = uint64(len(b.jobs) + 1)
		b.jobs = append(b.jobs, dbus.Job{
			ID: id, Operation: operation, StartedByUID: c.UID, Started: time.Unix(1700000000, 0),
			State: dbus.JobRunning, Cancelable: true, ItemsTotal: 10, Objects: []dbus.ObjectPath{dbus.RootPath(257)},
		})
		b.ended[id] = make(chan struct{})
	})
	return id
}

func (b *backend) progress(id uint64, done uint64) {
	b.update(dbus.JobsChanged, func() {
		j := &b.jobs[id-1]
		j.ItemsDone, j.Progress, j.ProgressValid = done, float64(done)/10, true
	})
}

func (b *backend) end(id uint64, result dbus.JobResult, err error) {
	b.update(dbus.JobsChanged|dbus.ManagerChanged, func() {
		j := &b.jobs[id-1]
		j.State, j.Result, j.Error, j.Cancelable = dbus.JobDone, result, dbus.InfoOf(err), false
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ended[id])
}

func (b *backend) CreateSnapshot(_ context.Context, c dbus.Caller, label string) (uint64, error) {
	if err := b.called("CreateSnapshot %d %q", c.UID, label); err != nil {
		return 0, err
	}
	return b.start(c, "create-snapshot"), nil
}

func (b *backend) DeleteRoots(_ context.Context, c dbus.Caller, ids []uint64) (uint64, error) {
	if err := b.called("DeleteRoots %d %v", c.UID, ids); err != nil {
		return 0, err
	}
	return b.start(c, "delete-roots"), nil
}

func (b *backend) PlanPrune(_ context.Context, o dbus.PruneOptions) ([]dbus.PlanItem, error) {
	if err := b.called("PlanPrune %s", describe(o)); err != nil {
		return nil, err
	}
	if b.planned != nil {
		<-b.planned
	}
	if b.plan != nil {
		return b.plan, nil
	}
	return []dbus.PlanItem{
		{Root: 257, Name: "one", Remove: true, Reasons: []string{"older than keepWithin"}},
		{Root: 258, Name: "two", Reasons: []string{"keepLast", "pinned"}},
	}, nil
}

func (b *backend) Prune(_ context.Context, c dbus.Caller, o dbus.PruneOptions) (uint64, error) {
	if err := b.called("Prune %d %s", c.UID, describe(o)); err != nil {
		return 0, err
	}
	id := b.start(c, "prune")
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pruned != nil {
		go b.pruned(id)
	}
	return id, nil
}

func describe(o dbus.PruneOptions) string {
	text := fmt.Sprintf("wait=%v", o.Wait)
	if o.KeepWithin != nil {
		text += fmt.Sprintf(" within=%s", *o.KeepWithin)
	}
	if o.MinFree != nil {
		text += fmt.Sprintf(" free=%v", *o.MinFree)
	}
	if o.KeepLabels != nil {
		text += fmt.Sprintf(" labels=%q", o.KeepLabels)
	}
	for name, v := range map[string]*uint32{"last": o.KeepLast, "yearly": o.KeepYearly} {
		if v != nil {
			text += fmt.Sprintf(" %s=%d", name, *v)
		}
	}
	return text
}

func (b *backend) SetPinned(_ context.Context, id uint64, pinned bool) error {
	if err := b.called("SetPinned %d %v", id, pinned); err != nil {
		return err
	}
	b.update(dbus.RootsChanged, func() {
		for i := range b.roots {
			if b.roots[i].ID == id {
				b.roots[i].Pinned = pinned
			}
		}
	})
	return nil
}

func (b *backend) SetLabel(_ context.Context, id uint64, label string) error {
	if err := b.called("SetLabel %d %q", id, label); err != nil {
		return err
	}
	b.update(dbus.RootsChanged, func() {
		for i := range b.roots {
			if b.roots[i].ID == id {
				b.roots[i].Label = label
			}
		}
	})
	return nil
}

func (b *backend) SetNextBoot(_ context.Context, value string) error {
	if err := b.called("SetNextBoot %s", value); err != nil {
		return err
	}
	b.update(dbus.ManagerChanged, func() { b.manager.NextBoot = value })
	return nil
}

func (b *backend) ApplyPersistence(_ context.Context, c dbus.Caller, targets []string) (uint64, error) {
	if err := b.called("ApplyPersistence %d %v", c.UID, targets); err != nil {
		return 0, err
	}
	return b.start(c, "apply-persistence"), nil
}

func (b *backend) CheckEntryChange(_ context.Context, c dbus.EntryChange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if known := e.Target == c.Target; known && c.Deed == dbus.AddEntry {
			return fmt.Errorf("%s: %w: it is an entry already", c.Target, dbus.ErrInvalidArgs)
		} else if known {
			return nil
		}
	}
	if c.Deed != dbus.AddEntry {
		return fmt.Errorf("%s: %w", c.Target, dbus.ErrNoSuchEntry)
	}
	return nil
}

func (b *backend) ChangeEntry(_ context.Context, c dbus.Caller, change dbus.EntryChange) (uint64, error) {
	mode := "-"
	if change.Mode != nil {
		mode = fmt.Sprintf("%04o", *change.Mode)
	}
	if err := b.called("ChangeEntry %d %s %q %s/%s/%s/%s/%s/%s %t %t", c.UID, change.Deed, change.Target,
		change.Volume, change.Kind, change.Method, change.User, change.Group, mode, change.NextBoot, change.DryRun); err != nil {
		return 0, err
	}
	return b.start(c, string(change.Deed)+"-persistence"), nil
}

func (b *backend) Orphans(_ context.Context, volume string) ([]dbus.Orphan, error) {
	if err := b.called("Orphans %q", volume); err != nil {
		return nil, err
	}
	return []dbus.Orphan{{Path: "/persist/old\xff", Kind: "directory", Volume: "/persist"}, {Path: "/persist/x", Kind: "file", Volume: "/persist"}}, nil
}

func (b *backend) CheckRestore(_ context.Context, _ uint64, o dbus.RestoreOptions) error {
	for _, p := range o.Paths {
		if strings.HasPrefix(p, "/elsewhere") {
			return fmt.Errorf("%s: %w", p, dbus.ErrInvalidArgs)
		}
	}
	return nil
}

func (b *backend) Restore(_ context.Context, c dbus.Caller, root uint64, o dbus.RestoreOptions, s *dbus.Stream) (uint64, error) {
	if err := b.called("Restore %d %d %q %q %t", c.UID, root, o.Paths, o.To, o.DryRun); err != nil {
		return 0, err
	}
	failure := dbus.InfoOf(dbus.ErrTargetConflict)
	return b.stream(c, "restore", s,
		dbus.RestoreResult{Path: "/a\xff", Target: "/to/a\xff", Action: "replaced", Aside: "/to/aside", Entries: 3, Bytes: 4711},
		dbus.RestoreResult{Path: "/b", Target: "/to/b", Action: "failed", Error: &failure}), nil
}

func (b *backend) ListVersions(_ context.Context, c dbus.Caller, path string, s *dbus.Stream) (uint64, error) {
	if err := b.called("ListVersions %d %q", c.UID, path); err != nil {
		return 0, err
	}
	return b.stream(c, "list-versions", s, dbus.Version{Root: 257, Name: "one", Version: 1, Kind: "symlink", Link: "\xfe"}, dbus.Version{Kind: "absent"}), nil
}

func (b *backend) BrowseRoot(_ context.Context, id uint64) (string, error) {
	return "/run/x\xff", b.called("BrowseRoot %d", id)
}

func (b *backend) EndBrowse(_ context.Context, id uint64) error { return b.called("EndBrowse %d", id) }

// stream starts a job that sends these lines.
func (b *backend) stream(c dbus.Caller, operation string, s *dbus.Stream, lines ...any) uint64 {
	id := b.start(c, operation)
	go func() {
		err := s.Send(context.Background(), func(l *dbus.Lines) error {
			for _, line := range lines {
				if err := l.Encode(line); err != nil {
					return err
				}
			}
			return nil
		})
		result := dbus.ResultDone
		if err != nil {
			result = dbus.ResultFailed
		}
		b.end(id, result, err)
	}()
	return id
}

func (b *backend) ListLosses(_ context.Context, c dbus.Caller, f dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	if err := b.called("ListLosses %d %q %d %v", c.UID, f.Paths, f.Since.Unix(), f.Ignored); err != nil {
		return 0, err
	}
	return b.stream(c, "compare-roots", out, theChange), nil
}

func (b *backend) CompareRoots(_ context.Context, c dbus.Caller, base, root uint64, f dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	if err := b.called("CompareRoots %d %d %d %q %d", c.UID, base, root, f.Paths, f.Since.Unix()); err != nil {
		return 0, err
	}
	return b.stream(c, "compare-roots", out, theChange), nil
}

// theChange is a difference with everything that one can have.
var theChange = dbus.FileChange{
	Change: "renamed", Path: "/a\xff", From: "/b\n", Type: "file", Size: 1 << 60, Mode: 0o4755, UID: 1000, GID: 100,
	Modified: time.Unix(1e9, 5).UTC(), Changed: time.Unix(2e9, 0).UTC(), Aspects: []string{"content", "mode"},
	Before: &dbus.FileBefore{Type: "file", Size: 7, Mode: 0o644, Modified: time.Unix(0, 0).UTC()}, Rule: "/etc/x:1: *",
}

func (b *backend) CancelJob(_ context.Context, id uint64) error {
	if err := b.called("CancelJob %d", id); err != nil {
		return err
	}
	b.end(id, dbus.ResultCanceled, dbus.ErrCanceled)
	return nil
}

func (b *backend) WaitJob(ctx context.Context, id uint64) (dbus.Job, error) {
	b.mu.Lock()
	ended := b.ended[id]
	b.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
		return dbus.Job{}, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.jobs[id-1], nil
}

func (b *backend) Reload(context.Context) error { return b.called("Reload") }
func (b *backend) Rescan(context.Context) error { return b.called("Rescan") }

func (b *backend) LogLevel() string { return b.level }
func (b *backend) SetLogLevel(level string) error {
	if level != "debug" && level != "info" {
		return fmt.Errorf("log level %q: %w", level, dbus.ErrInvalidArgs)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.level = level
	return nil
}
func (b *backend) LogTarget() string { return "journal" }
func (b *backend) SetLogTarget(t string) error {
	return fmt.Errorf("log target %q: %w", t, dbus.ErrInvalidArgs)
}
func (b *backend) SyslogIdentifier() string { return "impermanenced" }
