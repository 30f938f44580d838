package jobs

import (
	"slices"
	"time"
)

// tellInterrupted makes jobs of what the journal says that an earlier process left unfinished.
func (e *Engine) tellInterrupted() {
	var interrupted []Job
	e.next, interrupted = e.journal.load()
	for _, i := range interrupted {
		e.opts.Log.Warnw("job was interrupted", "job", i.ID, "operation", i.Operation)
		j := &job{Job: i, cancel: func() {}, done: make(chan struct{})}
		close(j.done)
		e.jobs[i.ID] = j
		e.journal.end(i.ID)
		e.forgetLater(i.ID)
	}
}

// forgetLater removes an ended job when it was readable for as long as Options.Keep says.
func (e *Engine) forgetLater(id uint64) {
	time.AfterFunc(e.opts.Keep, func() { e.forget(id) })
}

// forget removes an ended job.
func (e *Engine) forget(id uint64) {
	e.mu.Lock()
	delete(e.jobs, id)
	e.mu.Unlock()
	e.opts.Changed(false)
}

// forgetBeyond drops the oldest ended jobs when there are more than limit.
func (e *Engine) forgetBeyond(limit int) {
	if len(e.jobs) <= limit {
		return
	}
	var ended []uint64
	for id, j := range e.jobs {
		if j.State == Done {
			ended = append(ended, id)
		}
	}
	slices.Sort(ended)
	for _, id := range ended[:max(0, len(ended)-limit)] {
		delete(e.jobs, id)
	}
}
