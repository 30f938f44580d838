package persist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultWindow is how long after a change a file is copied back, unless told otherwise. A crash loses at most that.
const DefaultWindow = 2 * time.Second

// CopyBack watches the places of entries whose method is Copy, and copies what changes there back to its source: what is
// written, replaced by rename, or removed and made again. A file that is removed and stays so stays kept at its source.
// When both sides changed, both are kept.
type CopyBack struct {
	opts    Options
	entries []Entry
	window  time.Duration
	ready   chan struct{}
}

// NewCopyBack watches those of the entries that are copied. What is changed is copied back within window (DefaultWindow when
// 0); many changes in that time are one copy. Options.Done is called with each result.
func NewCopyBack(opts Options, entries []Entry, window time.Duration) *CopyBack {
	if window <= 0 {
		window = DefaultWindow
	}
	c := &CopyBack{opts: opts, window: window, ready: make(chan struct{})}
	for _, e := range entries {
		if e.Method == Copy && e.Kind == File {
			c.entries = append(c.entries, e)
		}
	}
	return c
}

// Watches tells whether there is a file to watch.
func (c *CopyBack) Watches() bool { return len(c.entries) > 0 }

// Ready is closed when all places are watched, and what had changed before is copied back.
func (c *CopyBack) Ready() <-chan struct{} { return c.ready }

// String names the task.
func (c *CopyBack) String() string { return "copy back" }

// Run watches until ctx ends; then it copies back what has changed and returns. A file that can't be copied back is
// reported to Options.Done and tried again at its next change and at the end. When nothing can be watched, what has changed until
// then is copied back, and the error tells why.
func (c *CopyBack) Run(ctx context.Context) error {
	if len(c.entries) == 0 {
		close(c.ready)
		<-ctx.Done()
		return nil
	}
	w, err := newWatcher()
	if err != nil {
		return errors.Join(err, c.copyLast(context.WithoutCancel(ctx)))
	}
	return c.run(ctx, w)
}

// run does so with a watcher, and closes it.
func (c *CopyBack) run(ctx context.Context, w *watcher) error {
	events, failed := make(chan []watchEvent), make(chan error, 1)
	over := make(chan struct{})
	var pumping sync.WaitGroup
	pumping.Go(func() { pump(w, events, failed, over) })
	defer func() {
		close(over)
		w.close()
		pumping.Wait()
	}()
	return c.loop(ctx, w, events, failed)
}

// pump hands on what the watcher tells, until it is closed and nobody listens any more.
func pump(w *watcher, events chan<- []watchEvent, failed chan<- error, over <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		batch, err := w.read(buf)
		if err != nil {
			failed <- err
			return
		}
		select {
		case events <- batch:
		case <-over:
			return
		}
	}
}

func (c *CopyBack) loop(ctx context.Context, w *watcher, events <-chan []watchEvent, failed <-chan error) error {
	watched, err := c.watchAndCopy(ctx, w)
	if err != nil {
		return err
	}
	close(c.ready)
	var due <-chan time.Time // when to copy back; nil: nothing has changed
	for {
		select {
		case <-ctx.Done():
			return c.copyLast(context.WithoutCancel(ctx))
		case err := <-failed:
			return fmt.Errorf("watch files that are copied back: %w", err)
		case batch := <-events:
			if due == nil && watched.concerns(batch) {
				due = time.After(c.window)
			}
		case <-due:
			due = nil
			if watched, err = c.watchAndCopy(ctx, w); err != nil {
				return err
			}
			if watched.again {
				due = time.After(c.window)
			}
		}
	}
}

// Once copies back what has changed, and returns. Nobody else may be doing so.
func (c *CopyBack) Once(ctx context.Context) error {
	if len(c.entries) == 0 {
		return nil
	}
	return c.copyLast(ctx)
}

// copyLast copies back what has changed, again while something changes meanwhile.
func (c *CopyBack) copyLast(ctx context.Context) error {
	const most = 5
	for range most {
		if again, err := c.copyAll(ctx); err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("copy back at the end: %w", ErrBusy)
}

// watchAndCopy watches first and copies then, so that no change falls between.
func (c *CopyBack) watchAndCopy(ctx context.Context, w *watcher) (watches, error) {
	watched, err := c.watch(w)
	again, errCopy := c.copyAll(context.WithoutCancel(ctx)) // what is left at the end is copied, too
	watched.again = watched.again || again
	return watched, errors.Join(err, errCopy)
}

// watches say which names in which watched directories concern us. again: a file changed while it was copied, or a directory while it was
// to be watched.
type watches struct {
	names map[int]map[string]bool
	again bool
}

// concerns tells whether one of the changes can be of a file that is copied back, or of a directory on the way to one.
func (w watches) concerns(events []watchEvent) bool {
	for _, e := range events {
		names, ours := w.names[e.watch]
		if e.watch < 0 || ours && (e.name == "" || names[e.name]) {
			return true
		}
	}
	return false
}

// watch watches the directory of each place, or, as long as that does not exist, the next one above that does.
func (c *CopyBack) watch(w *watcher) (watches, error) {
	watched := watches{names: map[int]map[string]bool{}}
	s, err := newSession(&kernel{}, c.opts, c.entries)
	if err != nil {
		return watched, err
	}
	defer s.close()
	for _, e := range s.resolveHomes(c.entries) {
		if err := s.watch(w, &watched, e.Target); err != nil {
			return watched, err
		}
	}
	return watched, nil
}

// watch watches for one place, until what is watched is what leads there: of another directory that came to stand there before, nothing
// would tell.
func (s *session) watch(w *watcher, watched *watches, target string) error {
	const tries = 10
	var before InodeID
	for range tries {
		fd, p, err := s.nearest(target)
		if err != nil {
			return nil //nolint:nilerr // what is wrong with the path shows when it is copied
		}
		st, err := s.k.stat(fd, "")
		if err != nil {
			return err
		}
		if objectOf(st).ID == before {
			return nil
		}
		before = objectOf(st).ID
		number, err := w.add(fd, path.Dir(p))
		if err != nil {
			return err
		}
		if watched.names[number] == nil {
			watched.names[number] = map[string]bool{}
		}
		watched.names[number][path.Base(p)] = true
		s.paths.forget()
	}
	watched.again = true
	return nil
}

// nearest opens the directory that a place is in, or the next one above that exists; p is what leads to the place in that.
func (s *session) nearest(target string) (dir int, p string, err error) {
	p = target
	dir, err = s.paths.dir(path.Dir(p))
	for errors.Is(err, unix.ENOENT) && path.Dir(p) != "/" {
		p = path.Dir(p)
		dir, err = s.paths.dir(path.Dir(p))
	}
	return dir, p, err
}

// copyAll copies back what has changed, and tells whether a file changed meanwhile.
func (c *CopyBack) copyAll(ctx context.Context) (again bool, err error) {
	err = onThread(func() error {
		s, err := newSession(&kernel{}, c.opts, c.entries)
		if err != nil {
			return err
		}
		defer s.close()
		s.make = newMaker(s.k)
		entries := s.resolveHomes(c.entries)
		facts := s.facts(entries)
		for i, p := range Plan(facts, entries) {
			if !p.copiesOut() {
				continue
			}
			whole := ctx
			if ctx.Err() == nil { // what is begun comes to its end: nobody does it later
				whole = context.WithoutCancel(ctx)
			}
			result := s.applyOne(whole, p, facts.Entries[i])
			again = again || errors.Is(result.Err, ErrBusy)
			if c.opts.Done != nil && (result.Actions != "" || result.Err != nil) {
				c.opts.Done(result)
			}
		}
		return nil
	})
	return again, err
}

// copiesOut tells whether the plan is to copy a changed file back, or to note that it did not change, as a crash or a full volume has kept Apply
// from noting; all else is Apply's.
func (p Planned) copiesOut() bool {
	for _, s := range p.Steps {
		if s.Op == CopyOut || s.Op == NoteCopy {
			return true
		}
	}
	return false
}
