package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

const (
	// sizeDelay is how long after a list its sizes are looked for: who asked for it gets on with something first.
	sizeDelay = time.Second
	// sizeRest is how many times as long as a look took the next one waits.
	sizeRest = 10
	// sizePatience is how long a plan, which is a call that answers at once, looks for sizes that are not known.
	sizePatience = 100 * time.Millisecond
	// sizeWord is how often sizes that were found are told while others are still looked for.
	sizeWord = 10 * time.Second
)

// sizes knows how many bytes only each root holds. To find that takes a search of all that was written in the root, so it
// is done in the background, for one root after the other, and only for roots that somebody has listed. What is known
// holds until the root is changed.
type sizes struct {
	patience time.Duration // of a plan
	mu       sync.Mutex
	known    map[uint64]knownSize // by the id by which the root is known outside
	wanted   []*guardedRoot       // those of the last list that are not known
	listed   chan struct{}
}

// knownSize is the size of a root as of a transaction.
type knownSize struct{ changedIn, bytes uint64 }

func newSizes() *sizes {
	return &sizes{patience: sizePatience, known: map[uint64]knownSize{}, listed: make(chan struct{}, 1)}
}

// fill puts what is known into a list, and remembers what is not. Where a top level is mounted nowhere sizes are not looked
// for: that would mount it again and again.
func (s *sizes) fill(l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[uint64]knownSize, len(s.known)) // what is gone is forgotten
	s.wanted = nil
	for i := range l.roots {
		r := &l.roots[i]
		k, found := s.known[r.outside()]
		switch {
		case found && k.changedIn == r.ChangedIn:
			known[r.outside()] = k
			l.shown[i].Size = k.bytes
		case r.place.top != "" && !r.Deleting:
			s.wanted = append(s.wanted, r)
		}
	}
	s.known = known
	if len(s.wanted) > 0 {
		signal(s.listed)
	}
}

// of returns the size of a root when it is known.
func (s *sizes) of(r guardedRoot) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, found := s.known[r.outside()]
	return k.bytes, found && k.changedIn == r.ChangedIn
}

func (s *sizes) learn(r guardedRoot, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[r.outside()] = knownSize{r.ChangedIn, bytes}
}

// next returns a root whose size is to be looked for.
func (s *sizes) next() (guardedRoot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wanted) == 0 {
		return guardedRoot{}, false
	}
	r := s.wanted[0]
	s.wanted = s.wanted[1:]
	return *r, true
}

// sizeOf returns the size of a root, and looks for it when it is not known.
func (d *Daemon) sizeOf(ctx context.Context, fs *btrfsops.Filesystem, r guardedRoot) (uint64, error) {
	if bytes, known := d.sizes.of(r); known {
		return bytes, nil
	}
	bytes, err := fs.ExclusiveBytes(ctx, r.ID)
	if err == nil {
		d.sizes.learn(r, bytes)
	}
	return bytes, err
}

// findSizes looks for the sizes of roots that were listed, until ctx ends. A job goes first.
func (d *Daemon) findSizes(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.sizes.listed:
		}
		if !pause(ctx, sizeDelay) || !d.findWanted(ctx) {
			return
		}
	}
}

// findWanted looks for the sizes that are wanted now; false when ctx ended.
func (d *Daemon) findWanted(ctx context.Context) bool {
	told, untold := time.Now(), false
	for {
		r, more := d.sizes.next()
		if untold && (!more || time.Since(told) > sizeWord) {
			d.tell(dbus.RootsChanged)
			told, untold = time.Now(), false
		}
		if !more {
			return true
		}
		if !d.jobsFirst(ctx) {
			return false
		}
		began := time.Now()
		err := d.files.use(r.place, func(fs *btrfsops.Filesystem) error {
			bytes, err := d.sizeOf(ctx, fs, r)
			untold = untold || bytes > 0
			return err
		})
		if err != nil {
			d.log.Debugw("size of a root", "root", r.Name, "error", err) // it is gone, most likely
		}
		if !pause(ctx, sizeRest*time.Since(began)) {
			return false
		}
	}
}

// jobsFirst waits until no job is under way; false when ctx ended.
func (d *Daemon) jobsFirst(ctx context.Context) bool {
	for d.working() {
		if !pause(ctx, sizeDelay) {
			return false
		}
	}
	return ctx.Err() == nil
}

// working says whether a job is under way.
func (d *Daemon) working() bool {
	for _, j := range d.jobs.Jobs() {
		if j.State != jobs.Done {
			return true
		}
	}
	return false
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
