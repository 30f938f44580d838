package dbus

import (
	"context"
	"time"
)

// BusName is the name that the daemon owns on the system bus. Its version, like
// that of every interface and path, changes only with the interface itself.
const BusName = "org.impermanence1"

// Caller is who asks: the unique bus name of a connection, and the user it belongs
// to. The bus answers for both; a caller can't choose them.
type Caller struct {
	Sender string
	UID    uint32
}

// ErrorInfo is an error as a property shows it: a D-Bus error name and a text for
// people. Both are empty when there is no error.
type ErrorInfo struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// Manager is what org.impermanence1.Manager shows.
type Manager struct {
	Version             string
	Filesystem          string         // UUID of the file system; empty when it isn't known
	BootedRoot          uint64         // subvolume id of the root; 0 when it isn't known
	NextBoot            string         // "fresh", "keep", or the id of an old root; empty when it isn't known
	LastRollover        map[string]any // what early boot did; see [Details] for the types of values
	LastPrune           time.Time      // zero when nothing was pruned yet
	ActiveJobs          []uint64       // jobs that have not ended, oldest first
	ConfigurationErrors []string       // one line each: file:line: key: message; hint
	ReloadNeeded        bool           // the configuration files are not those that were read
	Losses              Losses         // what the next boot will lose, as it was found last
}

// Losses count what the next boot will lose.
type Losses struct {
	Count  uint64    // files, directories and what else has a name
	Bytes  uint64    // what the files hold
	Looked time.Time // when they were counted; zero when they never were, or when the root is kept
}

// Root is an old root or a snapshot.
type Root struct {
	ID             uint64 // subvolume id
	Name           string
	Kind           string // "old", "snapshot" or "discarded"
	Label          string
	UUID           string
	Path           string // relative to the top level; bytes, not necessarily UTF-8
	BootID         string
	Created        time.Time
	RolledOver     time.Time // when it stopped being the root; when taken, for a snapshot
	ReadOnly       bool
	Pinned         bool
	Deleting       bool     // a deletion was begun and has not finished
	HeldRoot       string   // path of another root that was moved into it by accident, as Path; empty: none
	ProtectReasons []string // why it can't be deleted: "booted", "default", "next", "pinned", "in-use", "newest", …
	Size           uint64   // bytes that only it holds, an estimate; 0 when it isn't known
}

// Entry is one directory or file kept on a persistent volume.
type Entry struct {
	Target    string // absolute path; bytes, not necessarily UTF-8
	Source    string // absolute path; bytes, not necessarily UTF-8
	Kind      string // "directory" or "file"
	Method    string // "auto", "bind", "symlink" or "copy"
	User      string
	Group     string
	Mode      uint32 // permission bits; 0 when they are not configured
	State     string // "in-place", "missing", "next-boot", "conflict", "drifted" or "failed"
	LastError ErrorInfo
	Origin    string // where it was configured: file:line
}

// JobState tells how far a job is.
type JobState string

// The states of a job, in their order.
const (
	JobQueued  JobState = "queued"
	JobRunning JobState = "running"
	JobDone    JobState = "done" // it ended; Job.Result says how
)

// JobResult tells how a job ended.
type JobResult string

// The results of a job. JobPartial means that some of its objects were dealt with
// and others were not; Job.Error and Job.Details tell which.
const (
	ResultNone     JobResult = "" // it has not ended
	ResultDone     JobResult = "done"
	ResultFailed   JobResult = "failed"
	ResultCanceled JobResult = "canceled"
	ResultPartial  JobResult = "partial"
)

// Job is work that can take longer than a blink. It outlives the client that
// started it, and stays readable for a while after it has ended.
type Job struct {
	ID            uint64
	Operation     string // "create-snapshot", "delete-roots", "prune", "apply-persistence", …
	Objects       []ObjectPath
	StartedByUID  uint32
	Started       time.Time
	State         JobState
	Progress      float64 // 0 to 1; meaningful only with ProgressValid
	ProgressValid bool
	Stage         string // what it is doing, for people
	ItemsDone     uint64
	ItemsTotal    uint64 // 0 when it isn't known
	Cancelable    bool
	Result        JobResult
	Error         ErrorInfo
	Details       Details
}

// Details are named values that differ from one kind of job to the next. A value is
// a string, a bool, an integer of 32 or 64 bits, a float64, or a slice of strings,
// of uint64 or of object paths; any other is sent as text.
type Details map[string]any

// PlanItem is what pruning would do to one root, and why.
type PlanItem struct {
	Root    uint64
	Name    string
	Remove  bool
	Reasons []string
}

// PruneOptions override the configured retention policy for one run: what is set
// replaces the configured value, what is nil leaves it.
type PruneOptions struct {
	KeepWithin  *time.Duration
	KeepLast    *uint32
	KeepHourly  *uint32
	KeepDaily   *uint32
	KeepWeekly  *uint32
	KeepMonthly *uint32
	KeepYearly  *uint32
	KeepLabels  []string
	MinFree     *MinFree
	Wait        bool // the job ends only when the space is really free again
}

// MinFree is the free space below which the oldest roots go too: whichever of the two
// is more.
type MinFree struct {
	Percent float64 // of the file system, 0 to 100
	Bytes   uint64
}

// RootFilter selects roots. The zero value selects all.
type RootFilter struct {
	Kind   string // "old", "snapshot", or "" for both
	Pinned *bool  // nil for both
}

// Backend is what the server asks for, and asks to be done. Its methods are called
// from several goroutines at once. An error that it returns reaches the caller under
// the name of the first sentinel of this package that it wraps; one that wraps none
// becomes [ErrInternal].
//
// A method that starts a job returns as soon as the job exists: the server shows the
// job before it replies. What the backend knows is read often and must not block;
// only Roots may look at the file system.
type Backend interface {
	// Manager is the state of the daemon as a whole.
	Manager() Manager
	// Roots lists the old roots and snapshots that f selects, oldest first.
	Roots(ctx context.Context, f RootFilter) ([]Root, error)
	// Entries lists the entries of all persistent volumes.
	Entries() []Entry
	// Jobs lists the jobs that have not ended, and those that ended a short while ago.
	Jobs() []Job

	// CreateSnapshot starts a job that copies the running root.
	CreateSnapshot(ctx context.Context, c Caller, label string) (job uint64, err error)
	// DeleteRoots starts a job that deletes these roots. A protected one among them
	// is an error that names why, and no root is deleted then.
	DeleteRoots(ctx context.Context, c Caller, ids []uint64) (job uint64, err error)
	// PlanPrune tells what Prune would do.
	PlanPrune(ctx context.Context, o PruneOptions) ([]PlanItem, error)
	// Prune starts a job that deletes what the retention policy does not keep.
	Prune(ctx context.Context, c Caller, o PruneOptions) (job uint64, err error)
	// SetPinned pins a root, or lets retention have it again.
	SetPinned(ctx context.Context, id uint64, pinned bool) error
	// SetLabel changes the label of a root.
	SetLabel(ctx context.Context, id uint64, label string) error
	// SetNextBoot chooses what the next boot does: "fresh", "keep", or the id of an
	// old root that it takes a copy of.
	SetNextBoot(ctx context.Context, value string) error
	// ApplyPersistence starts a job that puts the entries with these targets in
	// place; all of them when there is none.
	ApplyPersistence(ctx context.Context, c Caller, targets []string) (job uint64, err error)
	// CheckEntryChange tells what is wrong with a change, as far as it can without
	// looking at the disk. It is asked before anybody is asked for a password.
	CheckEntryChange(ctx context.Context, change EntryChange) error
	// ChangeEntry starts a job that begins or ends to keep an entry, or takes its
	// mount away.
	ChangeEntry(ctx context.Context, c Caller, change EntryChange) (job uint64, err error)
	// Orphans lists what lies on a persistent volume, or on all when none is named,
	// and no entry declares.
	Orphans(ctx context.Context, volume string) ([]Orphan, error)
	// CheckRestore tells what is wrong with a restore as far as that can be known without
	// looking at files.
	CheckRestore(ctx context.Context, root uint64, o RestoreOptions) error
	// Restore starts a job that brings paths of a root back, and sends a [RestoreResult]
	// for each. The stream is the job's to close, unless there is an error.
	Restore(ctx context.Context, c Caller, root uint64, o RestoreOptions, results *Stream) (job uint64, err error)
	// ListVersions starts a job that looks a path up in all roots, and sends a [Version]
	// for each. The stream is the job's to close, unless there is an error.
	ListVersions(ctx context.Context, c Caller, path string, results *Stream) (job uint64, err error)
	// BrowseRoot mounts a root read-only, for as long as it is looked at, and returns where.
	BrowseRoot(ctx context.Context, id uint64) (path string, err error)
	// EndBrowse takes that mount away.
	EndBrowse(ctx context.Context, id uint64) error
	// ListLosses starts a job that sends to out what the next boot will lose, each a
	// [FileChange], and that closes out.
	ListLosses(ctx context.Context, c Caller, f ChangeFilter, out *Stream) (job uint64, err error)
	// CompareRoots starts a job that sends to out in what a root differs from a base,
	// and that closes out. As a root 0 is the one that runs, as a base what a fresh one
	// would be.
	CompareRoots(ctx context.Context, c Caller, base, root uint64, f ChangeFilter, out *Stream) (job uint64, err error)
	// CancelJob asks a job to end early. It returns when the job was told.
	CancelJob(ctx context.Context, id uint64) error
	// WaitJob returns the job as soon as it has ended.
	WaitJob(ctx context.Context, id uint64) (Job, error)
	// Reload reads the configuration again. A wrong one changes nothing.
	Reload(ctx context.Context) error
	// Rescan looks again at what others may have changed on the file system.
	Rescan(ctx context.Context) error
}

// Authorizer decides whether a caller may do what an action stands for. It returns
// nil, an error that is [ErrAccessDenied], or one that is
// [ErrInteractiveAuthorizationRequired] when asking a person would help and
// interactive is false. Details are shown to the person who is asked and to rules.
type Authorizer interface {
	Authorize(ctx context.Context, c Caller, action string, details map[string]string, interactive bool) error
}

// LogControl is what org.freedesktop.LogControl1 needs of the daemon. Levels are
// those of syslog: "emerg", "alert", "crit", "err", "warning", "notice", "info",
// "debug". A value that isn't supported is [ErrInvalidArgs].
type LogControl interface {
	LogLevel() string
	SetLogLevel(level string) error
	LogTarget() string
	SetLogTarget(target string) error
	SyslogIdentifier() string
}

// Change says what kind of thing may have changed; see [Server.Changed].
type Change uint8

// The kinds of change; they can be combined.
const (
	ManagerChanged Change = 1 << iota
	RootsChanged
	EntriesChanged
	JobsChanged
	// JobEnded is a change of jobs that somebody may wait for: it is told at once, others may be put off for milliseconds.
	JobEnded

	EverythingChanged = ManagerChanged | RootsChanged | EntriesChanged | JobsChanged
)
