package daemon

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

// DefaultRunDir is where early boot leaves what it did, and the daemon what it does.
const DefaultRunDir = "/run/impermanence"

// Options say where a [Daemon] finds things. Log and Now must be set.
type Options struct {
	Version  string
	Config   config.LoadOptions
	RunDir   string   // holds boot.json and persist.json; empty: DefaultRunDir
	Device   string   // instead of every configured device
	Sysroot  string   // where the booted system is; empty: "/"
	Top      string   // where the top level is mounted; empty: RunDir/top when it is mounted there, else nowhere
	Placer   Placer   // puts entries in their places; nil: the one that fits, see [NewPlacer]
	Restorer Restorer // brings paths of old roots back; nil: the one that fits, see [NewRestorer]
	Log      dbus.Log
	Now      func() time.Time
	Browser  Browser // mounts old roots to be looked at, and top levels; nil: the one that fits, see [NewBrowser]
	// IdleExit ends the daemon when nobody has asked for anything for so long; 0: it stays.
	IdleExit time.Duration
	Notify   Notifier // tells the service manager; nil: nobody
}

// Daemon is what the daemon knows, and what it can be asked to do. Its methods may be called from several goroutines.
type Daemon struct {
	opts    Options
	log     dbus.Log
	jobs    *jobs.Engine
	files   *filesystems
	cache   *rootCache
	sizes   *sizes
	renewal chan struct{} // somebody has asked to look again; see findLosses
	status  *status
	changed atomic.Pointer[func(dbus.Change)]
	lastUse atomic.Int64 // nanoseconds since 1970

	loading   sync.Mutex // one reading of the configuration at a time
	looking   sync.Mutex // one look at a time; held too by who knows better what was seen
	topping   sync.Mutex // one mounting of a top level at a time
	firstLook sync.Once
	mu        sync.Mutex     // guards what is below
	loaded    *config.Config // what the files of the configuration say
	config    *config.Config // that and what is recorded on the volumes, as seen when the entries were looked at last
	wrong     error          // why the configuration on disk is not in force
	unread    error          // why not all that is recorded on the volumes is in force
	unmounted bool           // a volume was not there to be read
	contents  string         // of the configuration files that were read
	seen      seen
	lost      lossRecord
	// reloadNeeded says that the configuration files are not the ones that were read.
	reloadNeeded bool
	spaceRest    time.Time // until when nobody looks at the free space

	cleaning time.Duration // see cleaningPatience
}

var _ dbus.Backend = (*Daemon)(nil)

// New returns a daemon that has read its configuration, with what is recorded on the volumes, and looked at nothing else. A wrong configuration is not an error:
// the daemon tells of it, and refuses what would need it.
func New(opts Options) *Daemon {
	if opts.RunDir == "" {
		opts.RunDir = DefaultRunDir
	}
	if opts.Sysroot == "" {
		opts.Sysroot = "/"
	}
	if opts.Placer == nil {
		opts.Placer = NewPlacer(opts)
	}
	if opts.Restorer == nil {
		opts.Restorer = NewRestorer(opts)
	}
	if opts.Browser == nil {
		opts.Browser = NewBrowser(opts)
	}
	if opts.Notify == nil {
		opts.Notify = func(string) {}
	}
	d := &Daemon{opts: opts, log: opts.Log, status: newStatus(opts.Notify), files: newFilesystems(opts.Log), sizes: newSizes(), renewal: make(chan struct{}, 1), cleaning: cleaningPatience}
	d.cache = newRootCache(func() { d.tell(dbus.RootsChanged) }, opts.Log)
	d.jobs = jobs.New(jobs.Options{Journal: filepath.Join(opts.RunDir, "jobs"), Changed: d.jobsChanged, Log: opts.Log})
	d.loaded, d.contents, d.wrong = load(opts.Config)
	if d.wrong != nil {
		d.loaded = &config.Config{}
		d.log.Errorw("the configuration is wrong, none is in force", "error", d.wrong)
	}
	d.readRecorded()
	return d
}

// Close lets go of the file systems. Nobody may be using the daemon any more.
func (d *Daemon) Close() {
	d.cache.close()
	d.files.close()
}

// OnChange sets who is told that something may have changed. There is one listener.
func (d *Daemon) OnChange(listener func(dbus.Change)) { d.changed.Store(&listener) }

// tell says that something may have changed.
func (d *Daemon) tell(what dbus.Change) {
	if what&dbus.RootsChanged != 0 {
		d.cache.forget()
	}
	if listener := d.changed.Load(); listener != nil {
		(*listener)(what)
	}
}

// jobsChanged follows the jobs: the bus is told, and the service manager.
func (d *Daemon) jobsChanged(ended bool) {
	what := dbus.JobsChanged
	if ended {
		what = dbus.JobEnded
	}
	d.tell(what)
	d.status.show(d.jobs.Jobs())
}

// readRecorded reads what is recorded on the volumes. What is wrong with that keeps the rest in force.
func (d *Daemon) readRecorded() {
	d.mu.Lock()
	merged := *d.loaded
	d.mu.Unlock()
	mounted := merged.VolumesMounted(d.opts.Sysroot) // before: what is mounted meanwhile was not read
	err := config.AddRecorded(d.opts.Sysroot, &merged)
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.unread != nil && err != nil && d.unread.Error() == err.Error()
	d.config, d.unread, d.unmounted = &merged, nil, !mounted
	if err != nil {
		d.unread = &busError{err, dbus.ErrInvalidConfiguration}
	}
	if err != nil && !known { // anyone may ask for a plan, which reads it again
		d.log.Errorw("not all that was recorded on volumes is in force", "error", err)
	}
}

// current returns the configuration in force, never nil, and what is wrong with the one on disk.
func (d *Daemon) current() (*config.Config, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config, d.wrong
}
