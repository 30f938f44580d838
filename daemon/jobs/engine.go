package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// The limits that an Options without any gets.
const (
	DefaultKeep       = time.Minute
	DefaultPerSender  = 8
	DefaultActive     = 64
	DefaultRemembered = 1024
)

// Options are the limits of an [Engine], each with a default for its zero value.
type Options struct {
	Keep       time.Duration    // how long a job stays readable after it ended
	PerSender  int              // jobs of one sender that have not ended
	Active     int              // jobs in all that have not ended
	Remembered int              // ended jobs that are kept; beyond it the oldest go before their time
	Journal    string           // directory that remembers what a kill of the process interrupts; empty: none
	Changed    func(ended bool) // called, without a lock, after anything that Jobs shows has changed; ended: a job has ended
	Log        Log
}

// Log takes what an [Engine] tells of: a message, then names and values in turn. zap's SugaredLogger is one.
type Log interface {
	Infow(message string, pairs ...any)
	Warnw(message string, pairs ...any)
	Errorw(message string, pairs ...any)
}

// silence is the Log of who wants none.
type silence struct{}

func (silence) Infow(string, ...any)  {}
func (silence) Warnw(string, ...any)  {}
func (silence) Errorw(string, ...any) {}

// Engine holds the jobs. Its methods may be called from several goroutines.
type Engine struct {
	opts    Options
	journal *journal
	idle    sync.WaitGroup // jobs that run

	mu        sync.Mutex
	resources resources
	jobs      map[uint64]*job
	next      uint64
	stopping  bool
}

// job is a Job with what makes it run. Everything but done is guarded by Engine.mu.
type job struct {
	Job
	cancel   context.CancelFunc
	canceled bool
	done     chan struct{}
}

// Request asks for a job.
type Request struct {
	Operation  string
	Objects    []string // what it works on
	Sender     string   // who asks; bounded by Options.PerSender
	UID        uint32
	Writes     []string // the resources (file systems) that nobody else may write to meanwhile
	Cancelable bool
	// Run does the work. Its error decides the result: nil is Succeeded, one marked by Partly is Partial, the
	// context's own after a Cancel is Canceled, any other is Failed. A panic is Failed.
	Run func(ctx context.Context, p *Progress) error
}

// New returns an engine without jobs, but for those that an earlier process left unfinished: they have failed with
// ErrInterrupted, and stay readable like others that ended.
func New(opts Options) *Engine {
	opts.Keep = cmp.Or(opts.Keep, DefaultKeep)
	opts.PerSender = cmp.Or(opts.PerSender, DefaultPerSender)
	opts.Active = cmp.Or(opts.Active, DefaultActive)
	opts.Remembered = cmp.Or(opts.Remembered, DefaultRemembered)
	if opts.Changed == nil {
		opts.Changed = func(bool) {}
	}
	if opts.Log == nil {
		opts.Log = silence{}
	}
	e := &Engine{opts: opts, journal: &journal{dir: opts.Journal, log: opts.Log}, jobs: map[uint64]*job{}}
	e.resources = newResources(&e.mu)
	e.tellInterrupted()
	return e
}

// Start makes a job of r and returns its id at once. Errors: *BusyError, ErrTooMany, ErrStopping.
func (e *Engine) Start(r Request) (uint64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	j, err := e.add(r, cancel)
	if err != nil {
		cancel()
		return 0, err
	}
	e.journal.begin(j.Job)
	e.opts.Log.Infow("job started", "job", j.ID, "operation", r.Operation, "uid", r.UID)
	e.opts.Changed(false)
	go e.run(ctx, j, r.Run)
	return j.ID, nil
}

// add checks the limits and registers a job.
func (e *Engine) add(r Request, cancel context.CancelFunc) (*job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return nil, ErrStopping
	}
	if err := e.resources.busy(r.Writes...); err != nil {
		return nil, err
	}
	active, own := 0, 0
	for _, j := range e.jobs {
		if j.State == Done {
			continue
		}
		active++
		if j.Sender == r.Sender {
			own++
		}
	}
	if own >= e.opts.PerSender || active >= e.opts.Active {
		return nil, fmt.Errorf("%w: %d are running, %d of them for %s", ErrTooMany, active, own, r.Sender)
	}
	j := &job{
		Job: Job{
			ID: e.next, Operation: r.Operation, Objects: slices.Clone(r.Objects), Sender: r.Sender, UID: r.UID,
			Writes: slices.Clone(r.Writes), Started: time.Now(), State: Queued, Cancelable: r.Cancelable,
		},
		cancel: cancel, done: make(chan struct{}),
	}
	e.next++
	e.jobs[j.ID] = j
	e.resources.take(j)
	e.idle.Add(1)
	return j, nil
}

// run does the work of a job and ends it.
func (e *Engine) run(ctx context.Context, j *job, work func(context.Context, *Progress) error) {
	defer e.idle.Done()
	defer j.cancel()
	e.change(j, func(shown *Job) {
		e.resources.awaitClaims(j)
		shown.State = Running
	})
	e.end(j, e.guarded(ctx, j, work))
}

// Claim takes a resource for a change that takes no longer than a blink. It waits for other claims, not for a job. Errors:
// *BusyError.
func (e *Engine) Claim(resource string) (release func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.resources.claim(resource); err != nil {
		return nil, err
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.resources.release(resource)
	}, nil
}

// guarded turns a panic into an error.
func (e *Engine) guarded(ctx context.Context, j *job, work func(context.Context, *Progress) error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			e.opts.Log.Errorw("job panicked", "job", j.ID, "operation", j.Operation,
				"cause", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", ErrPanic, cause)
		}
	}()
	return work(ctx, &Progress{engine: e, job: j})
}

// end gives a job its result, frees its resources, and forgets it after Options.Keep.
func (e *Engine) end(j *job, err error) {
	e.mu.Lock()
	j.State, j.Cancelable = Done, false
	j.Result, j.Err = resultOf(err, j.canceled), err
	if j.Result == Succeeded && j.ProgressValid {
		j.Progress = 1
	}
	e.resources.free(j)
	result := j.Result
	e.forgetBeyond(e.opts.Remembered)
	e.mu.Unlock()

	e.opts.Log.Infow("job ended", "job", j.ID, "operation", j.Operation,
		"result", string(result), "error", err)
	e.journal.end(j.ID)
	e.forgetLater(j.ID)
	e.opts.Changed(true)
	close(j.done)
}

// change alters what a job shows, and tells.
func (e *Engine) change(j *job, alter func(*Job)) {
	e.mu.Lock()
	alter(&j.Job)
	e.mu.Unlock()
	e.opts.Changed(false)
}

// Jobs returns the jobs that have not ended and those that ended lately, in the order of their start.
func (e *Engine) Jobs() []Job {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]Job, 0, len(e.jobs))
	for _, id := range slices.Sorted(maps.Keys(e.jobs)) {
		list = append(list, e.jobs[id].copy())
	}
	return list
}

// copy is what may leave the lock.
func (j *job) copy() Job {
	c := j.Job
	c.Details = maps.Clone(j.Details)
	return c
}

// Cancel tells a job to end early; it returns when the job was told. A job that ended already is left as it is. Errors:
// ErrNoSuchJob, ErrNotCancelable.
func (e *Engine) Cancel(id uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	j := e.jobs[id]
	switch {
	case j == nil:
		return fmt.Errorf("job %d: %w", id, ErrNoSuchJob)
	case j.State == Done:
		return nil
	case !j.Cancelable:
		return fmt.Errorf("job %d (%s): %w", id, j.Operation, ErrNotCancelable)
	}
	j.canceled = true
	j.cancel()
	return nil
}

// Wait returns a job when it has ended. Errors: ErrNoSuchJob, the context's.
func (e *Engine) Wait(ctx context.Context, id uint64) (Job, error) {
	e.mu.Lock()
	j := e.jobs[id]
	e.mu.Unlock()
	if j == nil {
		return Job{}, fmt.Errorf("job %d: %w", id, ErrNoSuchJob)
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return Job{}, fmt.Errorf("wait for job %d: %w", id, ctx.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return j.copy(), nil
}

// Stop refuses further jobs, cancels those that can be canceled, and returns when all have ended.
func (e *Engine) Stop() {
	e.mu.Lock()
	e.stopping = true
	for _, j := range e.jobs {
		if j.State != Done && j.Cancelable {
			j.canceled = true
			j.cancel()
		}
	}
	e.mu.Unlock()
	e.idle.Wait()
}

// isCancel tells whether err comes of a canceled context.
func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
