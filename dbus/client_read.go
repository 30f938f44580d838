package dbus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

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
	RootDiscarded
)

// ListRoots lists what f selects, oldest first: the cheapest way to see all roots.
func (c *Client) ListRoots(ctx context.Context, f RootFilter) ([]RootEntry, error) {
	filter := options{}
	if f.Kind != "" {
		filter["kind"] = godbus.MakeVariant(f.Kind)
	}
	if f.Pinned != nil {
		filter["pinned"] = godbus.MakeVariant(*f.Pinned)
	}
	var rows []struct {
		Path  ObjectPath
		Name  string
		USec  uint64
		Flags uint64
	}
	if err := c.manage(ctx, "ListRoots", []any{filter, noFlags}, []any{&rows}); err != nil {
		return nil, wrapf(err, "list roots")
	}
	roots := make([]RootEntry, len(rows))
	for i, row := range rows {
		id, err := ParseRootPath(row.Path)
		if err != nil {
			return nil, wrapf(err, "list roots")
		}
		roots[i] = RootEntry{id, row.Name, fromUSec(row.USec), RootFlags(row.Flags)}
	}
	return roots, nil
}

// propertyTable is properties as GetAll returns them.
type propertyTable map[string]godbus.Variant

// value is the value of a property; the zero value when the daemon has none of this
// name and type, which is an older or newer daemon's right.
func value[T any](p propertyTable, name string) T {
	v, _ := p[name].Value().(T)
	return v
}

func (p propertyTable) usec(name string) time.Time { return fromUSec(value[uint64](p, name)) }

// bytestring is an array of bytes without the zero byte at its end.
func (p propertyTable) bytestring(name string) string {
	return strings.TrimSuffix(string(value[[]byte](p, name)), "\x00")
}

func (p propertyTable) errorInfo(name string) ErrorInfo {
	pair := value[[]any](p, name)
	if len(pair) != 2 {
		return ErrorInfo{}
	}
	var i ErrorInfo
	i.Name, _ = pair[0].(string)
	i.Message, _ = pair[1].(string)
	return i
}

func (p propertyTable) details(name string) map[string]any {
	table := value[map[string]godbus.Variant](p, name)
	details := make(map[string]any, len(table))
	for key, v := range table {
		details[key] = v.Value()
	}
	return details
}

// Manager returns the properties of the manager.
func (c *Client) Manager(ctx context.Context) (Manager, error) {
	p, err := c.properties(ctx, ManagerPath, managerInterface)
	if err != nil {
		return Manager{}, wrapf(err, "read manager")
	}
	m := Manager{
		Version: value[string](p, "Version"), Filesystem: value[string](p, "Filesystem"),
		NextBoot: value[string](p, "NextBoot"), LastRollover: p.details("LastRollover"),
		LastPrune: p.usec("LastPruneUSec"), ConfigurationErrors: value[[]string](p, "ConfigurationErrors"),
		ReloadNeeded: value[bool](p, "ReloadNeeded"), Losses: lossesOf(value[map[string]godbus.Variant](p, "Losses")),
	}
	if booted := value[ObjectPath](p, "BootedRoot"); booted != NoPath {
		if m.BootedRoot, err = ParseRootPath(booted); err != nil {
			return m, wrapf(err, "read manager")
		}
	}
	for _, path := range value[[]ObjectPath](p, "ActiveJobs") {
		id, err := ParseJobPath(path)
		if err != nil {
			return m, wrapf(err, "read manager")
		}
		m.ActiveJobs = append(m.ActiveJobs, id)
	}
	return m, nil
}

func lossesOf(p propertyTable) Losses {
	return Losses{Count: value[uint64](p, "count"), Bytes: value[uint64](p, "bytes"), Looked: p.usec("usec")}
}

func (c *Client) properties(ctx context.Context, path ObjectPath, iface string) (propertyTable, error) {
	var p propertyTable
	err := c.call(ctx, path, propertiesInterface, "GetAll", []any{iface}, []any{&p})
	return p, err
}

// managed returns the objects below the manager that have an interface.
func (c *Client) managed(ctx context.Context, iface string) (map[ObjectPath]propertyTable, error) {
	var objects map[ObjectPath]map[string]map[string]godbus.Variant
	if err := c.call(ctx, ManagerPath, objectsInterface, "GetManagedObjects", nil, []any{&objects}); err != nil {
		return nil, err
	}
	found := map[ObjectPath]propertyTable{}
	for path, faces := range objects {
		if p, ok := faces[iface]; ok {
			found[path] = p
		}
	}
	return found, nil
}

// Roots returns all roots with all their properties, oldest first.
func (c *Client) Roots(ctx context.Context) ([]Root, error) {
	objects, err := c.managed(ctx, rootInterface)
	if err != nil {
		return nil, wrapf(err, "read roots")
	}
	roots := make([]Root, 0, len(objects))
	for p := range maps.Values(objects) {
		roots = append(roots, rootOf(p))
	}
	slices.SortFunc(roots, func(a, b Root) int {
		return cmp.Or(a.RolledOver.Compare(b.RolledOver), cmp.Compare(a.ID, b.ID))
	})
	return roots, nil
}

func rootOf(p propertyTable) Root {
	return Root{
		ID: value[uint64](p, "SubvolumeId"), Name: value[string](p, "Name"), Kind: value[string](p, "Kind"),
		Label: value[string](p, "Label"), UUID: value[string](p, "UUID"), Path: p.bytestring("Path"),
		BootID: value[string](p, "BootId"), Created: p.usec("CreatedUSec"), RolledOver: p.usec("RolledOverUSec"),
		ReadOnly: value[bool](p, "ReadOnly"), Pinned: value[bool](p, "Pinned"), Deleting: value[bool](p, "Deleting"),
		HeldRoot: p.bytestring("HeldRoot"), ProtectReasons: value[[]string](p, "ProtectReasons"), Size: value[uint64](p, "ExclusiveBytes"),
	}
}

// Entries returns all entries, sorted by target.
func (c *Client) Entries(ctx context.Context) ([]Entry, error) {
	objects, err := c.managed(ctx, entryInterface)
	if err != nil {
		return nil, wrapf(err, "read entries")
	}
	entries := make([]Entry, 0, len(objects))
	for p := range maps.Values(objects) {
		entries = append(entries, entryOf(p))
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Target, b.Target) })
	return entries, nil
}

func entryOf(p propertyTable) Entry {
	return Entry{
		Target: p.bytestring("Target"), Source: p.bytestring("Source"),
		Kind: value[string](p, "Kind"), Method: value[string](p, "Method"),
		User: value[string](p, "User"), Group: value[string](p, "Group"), Mode: value[uint32](p, "Mode"),
		State: value[string](p, "State"), LastError: p.errorInfo("LastError"), Origin: value[string](p, "Origin"),
	}
}

// Jobs returns all jobs that the daemon still knows, oldest first.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	objects, err := c.managed(ctx, jobInterface)
	if err != nil {
		return nil, wrapf(err, "read jobs")
	}
	jobs := make([]Job, 0, len(objects))
	for path, p := range objects {
		id, err := ParseJobPath(path)
		if err != nil {
			return nil, wrapf(err, "read jobs")
		}
		jobs = append(jobs, jobOf(id, p))
	}
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Compare(a.ID, b.ID) })
	return jobs, nil
}

// Job returns one job.
func (c *Client) Job(ctx context.Context, id uint64) (Job, error) {
	p, err := c.properties(ctx, JobPath(id), jobInterface)
	if err != nil {
		return Job{}, wrapf(noSuchJob(err), "read job "+strconv.FormatUint(id, 10))
	}
	return jobOf(id, p), nil
}

func jobOf(id uint64, p propertyTable) Job {
	j := Job{
		ID: id, Operation: value[string](p, "Operation"), Objects: value[[]ObjectPath](p, "Objects"),
		StartedByUID: value[uint32](p, "StartedByUID"), Started: p.usec("StartUSec"), Details: p.details("Details"),
	}
	j.update(p)
	return j
}

// update takes over the properties that change while the job runs, as far as p has them.
func (j *Job) update(p propertyTable) {
	if state := value[string](p, "State"); state != "" {
		j.State = JobState(state)
	}
	if result := value[string](p, "Result"); result != "" {
		j.Result = JobResult(result)
	}
	if _, changed := p["Error"]; changed {
		j.Error = p.errorInfo("Error")
	}
	if _, changed := p["Details"]; changed {
		j.Details = p.details("Details")
	}
	take(p, "Progress", &j.Progress)
	take(p, "ProgressValid", &j.ProgressValid)
	take(p, "Stage", &j.Stage)
	take(p, "ItemsDone", &j.ItemsDone)
	take(p, "ItemsTotal", &j.ItemsTotal)
	take(p, "Cancelable", &j.Cancelable)
}

func take[T any](p propertyTable, name string, to *T) {
	if v, ok := p[name].Value().(T); ok {
		*to = v
	}
}
