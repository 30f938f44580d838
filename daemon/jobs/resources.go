package jobs

import "sync"

// resources says who writes to what. Everything is guarded by the lock of the engine that it belongs to.
type resources struct {
	writers  map[string]*job // one job each, from its start to its end
	claimed  map[string]bool // for a change that takes no longer than a blink
	released *sync.Cond      // a claim was released
}

func newResources(mu *sync.Mutex) resources {
	return resources{writers: map[string]*job{}, claimed: map[string]bool{}, released: sync.NewCond(mu)}
}

// busy returns a *BusyError when a job writes to one of these resources.
func (r *resources) busy(names ...string) error {
	for _, name := range names {
		if w := r.writers[name]; w != nil {
			return &BusyError{Job: w.ID, Operation: w.Operation}
		}
	}
	return nil
}

// take makes j the writer of its resources; from then on new claims are refused.
func (r *resources) take(j *job) {
	for _, name := range j.Writes {
		r.writers[name] = j
	}
}

func (r *resources) free(j *job) {
	for _, name := range j.Writes {
		delete(r.writers, name)
	}
}

// awaitClaims waits until nobody claims what j writes to.
func (r *resources) awaitClaims(j *job) {
	for _, name := range j.Writes {
		for r.claimed[name] {
			r.released.Wait()
		}
	}
}

// claim waits for other claims, not for a job.
func (r *resources) claim(name string) error {
	for {
		if err := r.busy(name); err != nil {
			return err
		}
		if !r.claimed[name] {
			r.claimed[name] = true
			return nil
		}
		r.released.Wait()
	}
}

func (r *resources) release(name string) {
	delete(r.claimed, name)
	r.released.Broadcast()
}
