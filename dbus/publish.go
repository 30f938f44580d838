package dbus

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// progressInterval is the least time between two progress signals of a job.
	progressInterval = 250 * time.Millisecond
	// publishInterval is the least time between two looks at the backend that nobody
	// waits for.
	publishInterval = 3 * time.Millisecond
	// rootsInterval is how long its list of roots, which is the dearest, is put off after
	// the first change; a list that took long is followed by ten times as long a rest.
	rootsInterval = 20 * time.Millisecond
)

// publisher keeps the tree that is on the bus in step with the backend.
type publisher struct {
	backend Backend
	faces   *faces
	log     Log
	send    func(...message) error

	dirty   atomic.Uint32 // of Change
	wake    chan struct{}
	hurry   chan struct{} // somebody waits for what woke
	listing sync.Mutex    // held while roots are listed, which may take long
	mu      sync.Mutex    // held while a tree takes the place of another
	current atomic.Pointer[tree]
	shown   map[uint64]time.Time // when progress of a job was last sent
	due     time.Time            // when progress that is held back may be sent
}

func newPublisher(backend Backend, f *faces, log Log, send func(...message) error) *publisher {
	p := &publisher{
		backend: backend, faces: f, log: log, send: send,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), shown: map[uint64]time.Time{},
	}
	p.current.Store(&tree{manager: object{path: ManagerPath, face: f.manager}})
	p.dirty.Store(uint32(EverythingChanged))
	return p
}

// tree is what is on the bus now.
func (p *publisher) tree() *tree { return p.current.Load() }

// changed remembers that things of these kinds may have changed.
func (p *publisher) changed(what Change) {
	if what&JobEnded != 0 {
		what |= JobsChanged
	}
	if what&JobsChanged != 0 {
		what |= ManagerChanged // its ActiveJobs
	}
	p.dirty.Or(uint32(what &^ JobEnded))
	if what&JobEnded != 0 {
		poke(p.hurry)
	}
	poke(p.wake)
}

// poke leaves word, unless there is word already.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take returns those of the kinds in want that may have changed, as looked after.
func (p *publisher) take(want Change) Change {
	return Change(p.dirty.And(^uint32(want))) & want
}

// flush brings the tree up to date with all that changed said before. A root list
// that can't be had is logged, and asked for again by the next who needs it.
func (p *publisher) flush(ctx context.Context, want Change) {
	if want&RootsChanged != 0 {
		p.flushRoots(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	what := p.take(want &^ RootsChanged)
	if what == 0 {
		return
	}
	next := *p.tree()
	if what&ManagerChanged != 0 {
		m := p.backend.Manager()
		next.manager = object{ManagerPath, p.faces.manager, &m}
	}
	if what&EntriesChanged != 0 {
		next.entries = newGroup(p.faces.entry, p.backend.Entries(), func(e *Entry) ObjectPath { return EntryPath(e.Target) })
	}
	if what&JobsChanged != 0 {
		next.jobs = newGroup(p.faces.job, p.pace(p.backend.Jobs(), time.Now()), func(j *Job) ObjectPath { return JobPath(j.ID) })
	}
	p.replace(&next)
}

func (p *publisher) flushRoots(ctx context.Context) {
	p.listing.Lock()
	defer p.listing.Unlock()
	if p.take(RootsChanged) == 0 {
		return
	}
	roots, err := p.backend.Roots(ctx, RootFilter{})
	p.mu.Lock()
	defer p.mu.Unlock()
	next := *p.tree()
	if err != nil {
		p.dirty.Or(uint32(RootsChanged))
		p.log.Warnw("list roots", "error", err)
		next.roots.loaded = true // whoever asks now is told of none: roots that come later are news
		p.replace(&next)
		return
	}
	next.roots = newGroup(p.faces.root, roots, func(r *Root) ObjectPath { return RootPath(r.ID) })
	p.replace(&next)
}

// replace puts next on the bus and tells what is different. It needs mu.
func (p *publisher) replace(next *tree) {
	old := p.current.Swap(next)
	signals := next.diff(old)
	if len(signals) == 0 {
		return
	}
	if err := p.send(signals...); err != nil {
		p.log.Warnw("send signals", "count", len(signals), "error", err)
	}
}

// pace holds back the progress of jobs whose last signal is too recent, and never
// lets it jump back.
func (p *publisher) pace(jobs []Job, now time.Time) []Job {
	p.due = time.Time{}
	shown := make(map[uint64]time.Time, len(jobs))
	for i := range jobs {
		shown[jobs[i].ID] = p.paceJob(&jobs[i], now)
	}
	p.shown = shown
	return jobs
}

// paceJob returns when progress of the job was last sent.
func (p *publisher) paceJob(job *Job, now time.Time) time.Time {
	o, known := p.tree().jobs.lookup(JobPath(job.ID))
	if !known {
		return now
	}
	before := o.value.(*Job)
	if job.ProgressValid && before.ProgressValid {
		job.Progress = max(job.Progress, before.Progress)
	}
	last := p.shown[job.ID]
	urgent := job.State != before.State || job.Result != before.Result || job.Cancelable != before.Cancelable
	due := last.Add(progressInterval)
	switch {
	case reflect.DeepEqual(job, before):
		return last
	case urgent || !now.Before(due):
		return now
	}
	*job = *before
	if p.due.IsZero() || due.Before(p.due) {
		p.due = due
	}
	return last
}

// run flushes whenever something changed, until ctx ends; at most once in publishInterval, unless a job has ended. Roots
// wait a little first, since one change seldom comes alone, and who deletes a hundred is not to be slowed by as many lists.
// Listing them can take long: it rests ten times as long as it took, and keeps nothing else from being told meanwhile, the
// end of a job above all.
func (p *publisher) run(ctx context.Context) {
	rest := time.NewTimer(0) // the first look needs no word
	defer rest.Stop()
	var roots, rested time.Time // when roots are due, zero when nothing is known to have changed; when the rest ends
	for {
		select {
		case <-rest.C:
		case <-p.hurry:
		case <-ctx.Done():
			return
		}
		p.flush(ctx, EverythingChanged&^RootsChanged)
		switch now := time.Now(); {
		case p.dirty.Load()&uint32(RootsChanged) == 0:
			roots = time.Time{}
		case roots.IsZero():
			roots = latest(rested, now.Add(rootsInterval))
		case !now.Before(roots):
			p.flush(ctx, RootsChanged)
			roots, rested = time.Time{}, time.Now().Add(10*time.Since(now))
		}
		rest.Reset(publishInterval)
		if !p.await(ctx, roots) {
			return
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// await waits for a change, or until progress or roots (unless zero) that were held back are due.
func (p *publisher) await(ctx context.Context, roots time.Time) bool {
	p.mu.Lock()
	next := p.due
	p.mu.Unlock()
	if !roots.IsZero() && (next.IsZero() || roots.Before(next)) {
		next = roots
	}
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
		p.dirty.Or(uint32(JobsChanged))
	case <-p.wake:
	}
	return true
}
