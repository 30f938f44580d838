package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// What --json prints. impermanence.schema.json, which is installed, describes each document under its name, and tests hold
// real output against it. Fields are added, never renamed or removed; a reader ignores those that it does not know.
//
// Times are in RFC 3339 and UTC, sizes in bytes, both null when they aren't known. Text that is not UTF-8 has U+FFFD in
// place of what JSON cannot hold.

// document prints one JSON document.
func (o output) document(v any) error {
	encoder := json.NewEncoder(o.w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// rootsDocument is what `roots` prints, and of those that they changed `pin`, `unpin` and `label`.
type rootsDocument struct {
	Roots []rootDocument `json:"roots"` // oldest first
}

// statusDocument is what `status` prints.
type statusDocument struct {
	Version             string           `json:"version"`    // of the daemon
	Filesystem          string           `json:"filesystem"` // UUID
	BootedRoot          uint64           `json:"bootedRoot"` // subvolume id; 0 when it isn't known
	LastRollover        map[string]any   `json:"lastRollover"`
	NextBoot            nextBootDocument `json:"nextBoot"`
	Losses              *lossesDocument  `json:"losses"` // null when they aren't known, and when the root is kept
	LastPrune           *time.Time       `json:"lastPrune"`
	NextPruneDeletes    int              `json:"nextPruneDeletes"` // roots
	Roots               []rootDocument   `json:"roots"`
	Entries             []entryDocument  `json:"entries"`
	ActiveJobs          []jobDocument    `json:"activeJobs"`
	ConfigurationErrors []string         `json:"configurationErrors"`
	Problems            []problem        `json:"problems"` // the most urgent first
}

// lossesDocument is what the next boot will lose, as it was when it was last looked for.
type lossesDocument struct {
	Count  uint64    `json:"count"` // of files, directories and what else has a name
	Bytes  uint64    `json:"bytes"`
	Looked time.Time `json:"looked"`
}

// rootDocument is an old root or a snapshot.
type rootDocument struct {
	ID             uint64     `json:"id"`
	Name           string     `json:"name"`
	Kind           string     `json:"kind"`
	Label          string     `json:"label"`
	UUID           string     `json:"uuid"`
	Path           dbus.Bytes `json:"path"`
	BootID         string     `json:"bootID"`
	Created        *time.Time `json:"created"`
	RolledOver     *time.Time `json:"rolledOver"`
	ReadOnly       bool       `json:"readOnly"`
	Pinned         bool       `json:"pinned"`
	Deleting       bool       `json:"deleting"`
	HeldRoot       dbus.Bytes `json:"heldRoot"`
	ProtectReasons []string   `json:"protectReasons"`
	ExclusiveBytes *uint64    `json:"exclusiveBytes"`
	// Retention is what the next prune does with it; null when that is not known, and elsewhere than in `roots`.
	Retention *verdictDocument `json:"retention"`
}

// verdictDocument is what the next prune does with a root.
type verdictDocument struct {
	Action  string   `json:"action"` // "keep" or "delete"
	Reasons []string `json:"reasons"`
}

// planDocument is what --dry-run prints.
type planDocument struct {
	Plan []planItemDocument `json:"plan"` // oldest first
}

// planItemDocument is what would become of one root.
type planItemDocument struct {
	ID      uint64   `json:"id"`
	Name    string   `json:"name"`
	Action  string   `json:"action"` // "keep" or "delete"
	Reasons []string `json:"reasons"`
}

// deletedDocument is what `prune` and `delete` print.
type deletedDocument struct {
	Job     jobDocument        `json:"job"`
	Deleted []planItemDocument `json:"deleted"`
	Left    []planItemDocument `json:"left"` // what should have been deleted and is still there
}

// snapshotDocument is what `snapshot` prints; the snapshot is null when the job has not made it.
type snapshotDocument struct {
	Job      jobDocument   `json:"job"`
	Snapshot *rootDocument `json:"snapshot"`
}

// persistDocument is what `persist` prints.
type persistDocument struct {
	Job     *jobDocument     `json:"job"`     // that put entries in their place; null when only new ones were named
	Changes []changeDocument `json:"changes"` // of what was none yet
	Entries []entryDocument  `json:"entries"` // as they are after it
}

// forgetDocument is what `forget` prints.
type forgetDocument struct {
	Changes []changeDocument `json:"changes"`
}

// changeDocument is what became of a path that was to be kept, or kept no more.
type changeDocument struct {
	Target  dbus.Bytes         `json:"target"`
	Plan    []planStepDocument `json:"plan"`    // in order
	Writers []string           `json:"writers"` // who writes to files or works in directories there
	Job     *jobDocument       `json:"job"`     // null when the daemon refused
	Error   *string            `json:"error"`   // null when it was done
}

// planStepDocument is one step of a change.
type planStepDocument struct {
	Step   string `json:"step"`
	Reason string `json:"reason"`
}

// orphansDocument is what `orphans` prints.
type orphansDocument struct {
	Orphans []orphanDocument `json:"orphans"`
}

// orphanDocument is something on a volume that no entry declares.
type orphanDocument struct {
	Path   dbus.Bytes `json:"path"`
	Kind   string     `json:"kind"`
	Volume string     `json:"volume"`
}

// importDocument is what `import` prints.
type importDocument struct {
	TOML       string   `json:"toml"`
	NotCarried []string `json:"notCarried"`
}

// entryDocument is one directory or file kept on a persistent volume.
type entryDocument struct {
	Target string         `json:"target"`
	Source string         `json:"source"`
	Kind   string         `json:"kind"`
	Method string         `json:"method"`
	User   string         `json:"user"`
	Group  string         `json:"group"`
	Mode   *string        `json:"mode"` // octal; null when none is configured
	State  string         `json:"state"`
	Error  *errorDocument `json:"error"`
	Origin string         `json:"origin"`
}

// jobDocument is work of the daemon.
type jobDocument struct {
	ID           uint64            `json:"id"`
	Operation    string            `json:"operation"`
	Objects      []dbus.ObjectPath `json:"objects"`
	StartedByUID uint32            `json:"startedByUID"`
	Started      *time.Time        `json:"started"`
	State        string            `json:"state"`
	Stage        string            `json:"stage"`
	ItemsDone    uint64            `json:"itemsDone"`
	ItemsTotal   uint64            `json:"itemsTotal"` // 0 when it isn't known
	Result       string            `json:"result"`     // "" while it has not ended
	Error        *errorDocument    `json:"error"`
	Details      map[string]any    `json:"details"`
}

// errorDocument is an error by its D-Bus name, and in words.
type errorDocument struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// nextDocument is what `next` prints.
type nextDocument struct {
	NextBoot nextBootDocument `json:"nextBoot"`
}

// nextBootDocument is what the next boot does.
type nextBootDocument struct {
	Action string `json:"action"` // "fresh", "keep" or "root"
	ID     uint64 `json:"id"`     // the old root that it takes a copy of; 0 unless the action is "root"
	Name   string `json:"name"`   // "" unless the action is "root"
}

func newRootsDocument(roots []dbus.Root, plan map[uint64]dbus.PlanItem) rootsDocument {
	d := rootsDocument{Roots: rootDocuments(roots)}
	for i, r := range roots {
		if item, ok := plan[r.ID]; ok {
			d.Roots[i].Retention = &verdictDocument{action(item), list(item.Reasons)}
		}
	}
	return d
}

func rootDocuments(roots []dbus.Root) []rootDocument {
	documents := make([]rootDocument, len(roots))
	for i, r := range roots {
		documents[i] = newRootDocument(r)
	}
	return documents
}

func newRootDocument(r dbus.Root) rootDocument {
	return rootDocument{
		ID: r.ID, Name: r.Name, Kind: r.Kind, Label: r.Label, UUID: r.UUID, Path: dbus.Bytes(r.Path), BootID: r.BootID,
		Created: known(r.Created), RolledOver: known(r.RolledOver),
		ReadOnly: r.ReadOnly, Pinned: r.Pinned, Deleting: r.Deleting, HeldRoot: dbus.Bytes(r.HeldRoot),
		ProtectReasons: list(r.ProtectReasons), ExclusiveBytes: knownSize(r.Size),
	}
}

func entryDocuments(entries []dbus.Entry) []entryDocument {
	documents := make([]entryDocument, len(entries))
	for i, e := range entries {
		documents[i] = entryDocument{
			Target: e.Target, Source: e.Source, Kind: e.Kind, Method: e.Method, User: e.User, Group: e.Group,
			State: e.State, Error: newErrorDocument(e.LastError), Origin: e.Origin,
		}
		if e.Mode != 0 {
			mode := fmt.Sprintf("%04o", e.Mode)
			documents[i].Mode = &mode
		}
	}
	return documents
}

func newJobDocument(j dbus.Job) jobDocument {
	details := map[string]any(j.Details)
	if details == nil {
		details = map[string]any{}
	}
	return jobDocument{
		ID: j.ID, Operation: j.Operation, Objects: list(j.Objects), StartedByUID: j.StartedByUID,
		Started: known(j.Started), State: string(j.State), Stage: j.Stage,
		ItemsDone: j.ItemsDone, ItemsTotal: j.ItemsTotal,
		Result: string(j.Result), Error: newErrorDocument(j.Error), Details: details,
	}
}

func newErrorDocument(e dbus.ErrorInfo) *errorDocument {
	if e == (dbus.ErrorInfo{}) {
		return nil
	}
	return &errorDocument{e.Name, e.Message}
}

func planDocuments(items []dbus.PlanItem) []planItemDocument {
	documents := make([]planItemDocument, len(items))
	for i, item := range items {
		documents[i] = planItemDocument{item.Root, item.Name, action(item), list(item.Reasons)}
	}
	return documents
}

// known returns a time as JSON has it, nil for none.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// knownSize returns a size as JSON has it, nil for none.
func knownSize(n uint64) *uint64 {
	if n == 0 {
		return nil
	}
	return &n
}

// list returns a slice that JSON shows as a list even when it is empty.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
