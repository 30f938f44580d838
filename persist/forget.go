package persist

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Forget ends keeping an entry in the running system: a copy of its source is put in its place, and the mount or symlink
// goes. The source stays on the volume, where Orphans finds it; nothing is deleted. A place in use is ErrBusy.
//
// The copy is staged, synced and verified beside the place before anything is taken away, and takes its place by a rename.
// After a crash the entry is in place, or its place is as it was before it was put there; Forget again completes.
// Recording that the entry is forgotten is up to the caller, and comes last.
func Forget(ctx context.Context, opts Options, e Entry) (Result, error) {
	return forget(ctx, &kernel{}, opts, e)
}

func forget(ctx context.Context, k *kernel, opts Options, e Entry) (Result, error) {
	var result Result
	err := onThread(func() error {
		s, err := newSession(k, opts, []Entry{e})
		if err != nil {
			return err
		}
		defer s.close()
		s.until(ctx)
		s.make = newMaker(k)
		e = s.resolveHomes([]Entry{e})[0]
		result = Result{Target: e.Target, Source: e.Source, Kind: e.Kind, Method: e.Method, State: InPlace, Origin: e.Origin.String()}
		done, err := s.forget(ctx, e)
		result.Actions = done
		return err
	})
	if err != nil {
		err = fmt.Errorf("forget %s: %w", e.Target, err)
		result.State, result.Err, result.Error = Failed, err, err.Error()
	}
	return result, err
}

// PlanForget gives what Forget would do. It changes nothing.
func PlanForget(ctx context.Context, opts Options, e Entry) ([]Step, error) {
	s, err := newSession(&kernel{}, opts, []Entry{e})
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.until(ctx)
	e = s.resolveHomes([]Entry{e})[0]
	x := &run{session: s, entry: e, facts: s.entryFacts(e), place: -1}
	return x.planForget()
}

// LeftBehind finds what an entry that is declared no more has left in the running system: the mount in its place of what a
// volume has at the same path, or a symlink to it. Forget ends that, too. It is false where there is no such thing.
func LeftBehind(opts Options, volume, target string) (Entry, bool) {
	e := Entry{Target: target, Source: path.Join(volume, target), Volume: volume}
	s, err := newSession(&kernel{}, opts, nil)
	if err != nil {
		return e, false
	}
	defer s.close()
	facts, err := s.stands(e) // no more of them: whoever asks has not been authorized, and comparing reads whole trees
	if facts.Source.Kind == IsFile {
		e.Kind = File
	}
	return e, err == nil && (facts.mounted() || facts.linked(e))
}

func (s *session) forget(ctx context.Context, e Entry) (done string, err error) {
	x := &run{session: s, ctx: ctx, entry: e, facts: s.entryFacts(e), place: -1}
	steps, err := x.planForget()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return "", err
	}
	for _, step := range steps {
		done = step.done()
		if err := x.step(step); err != nil {
			return "", err
		}
		s.paths.made(step.Path)
	}
	if x.aside != "" {
		done += ", what differed kept as " + x.aside
	}
	return done, nil
}

// planForget decides what ends an entry. Nothing is to be done when its place has all that its source has.
func (x *run) planForget() ([]Step, error) {
	e, source, target := x.entry, x.facts.Source, x.facts.Target
	mounted, linked := x.facts.mounted(), x.facts.linked(e)
	switch {
	case x.facts.Err != nil:
		return nil, x.facts.Err
	case source.Kind == Absent && linked:
		return []Step{{Op: RemoveLink, Path: e.Target}}, nil
	case source.Kind == Absent, e.Method == Copy && target.Kind == IsFile:
		return nil, nil
	case target.Mount && !mounted:
		return nil, fmt.Errorf("%s: %w", e.Target, ErrMountPoint)
	case mounted, linked, target.Kind == Absent, target.Empty, x.interrupted():
		var steps []Step
		for _, parent := range x.facts.TargetParents {
			steps = append(steps, Step{Op: MakeParent, Path: parent.Path, Owner: x.users.parentOwner(e, parent.Target, source)})
		}
		return append(steps, Step{Op: PutBack, Path: e.Target, From: e.Source}), nil
	}
	return nil, x.wantSame()
}

// interrupted tells whether a crash came between the unmount and the exchange of putBack: then the copy waits beside the place,
// under its own name or one that keeps things aside.
func (x *run) interrupted() bool {
	dir, name, err := x.paths.parent(x.entry.Target)
	if err != nil {
		return false
	}
	st, err := x.k.stat(dir, stagedName(name))
	if err == nil && objectOf(st).Kind == wantedKind(x.entry.Kind) {
		return true
	}
	sourceDir, source, err := x.paths.parent(x.entry.Source)
	for i := 1; err == nil; i++ {
		aside := asideName(name, i)
		if _, err = x.k.stat(dir, aside); err != nil {
			return false
		}
		var same bool
		if same, err = x.reads.covered(sourceDir, source, dir, aside); same {
			return true
		}
	}
	return false
}

// wantSame is for an entry that is not in place: it is forgotten already when its place has what its source has.
func (x *run) wantSame() error {
	sourceDir, source, err := x.paths.parent(x.entry.Source)
	if err != nil {
		return err
	}
	dir, name, err := x.paths.parent(x.entry.Target)
	if err != nil {
		return err
	}
	missing, err := x.reads.missingFrom(sourceDir, source, dir, name)
	if err == nil && missing != "" {
		err = fmt.Errorf("%s: %w", missing, ErrConflict)
	}
	return err
}

// putBack puts a copy of the source in its place. What the mount hid comes to light and is exchanged for the copy.
func (x *run) putBack(dir int, name, from string) error {
	sourceDir, source, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	place := func(staged string) error {
		if x.facts.Target.Mount {
			if err := x.k.unmount(dir, name); err != nil {
				return errors.Join(err, x.k.removeTree(dir, staged))
			}
		}
		return x.exchange(dir, staged, name)
	}
	return x.k.copyInto(x.ctx, sourceDir, source, dir, name, func(string) error { return nil }, place)
}

// exchange puts what is staged in place. What was there before is kept aside, and told, unless it is empty or all of it is in what
// was put back.
func (x *run) exchange(dir int, staged, name string) error {
	err := x.k.rename(dir, staged, dir, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	aside, err := x.k.swapAside(dir, staged, name)
	if err != nil {
		return err
	}
	st, err := x.k.stat(dir, aside)
	if err != nil {
		return err
	}
	switch o := objectOf(st); {
	case o.Kind == IsSymlink:
		link, err := x.k.readLink(dir, aside)
		if err != nil {
			return err
		}
		if link == x.entry.Source {
			return errors.Join(x.k.unlink(dir, aside), x.dropAsides(dir, name))
		}
	case o.Kind == IsFile && o.Empty:
		return x.k.unlink(dir, aside)
	case o.Kind == IsDirectory:
		if err := x.k.rmdir(dir, aside); !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	dropped, err := x.dropCovered(dir, aside, name)
	if err == nil && !dropped {
		x.aside = path.Join(path.Dir(x.entry.Target), aside)
	}
	return err
}

// dropCovered deletes what is aside when what it made way for has all of it.
func (x *run) dropCovered(dir int, aside, name string) (bool, error) {
	covered, err := x.k.covered(dir, aside, dir, name)
	if err != nil || !covered {
		return false, err
	}
	return true, x.k.removeTree(dir, aside)
}

// dropAsides does so with all that is aside: a symlink to a directory was put in place of what stood there.
func (x *run) dropAsides(dir int, name string) error {
	var err error
	for i := 1; err == nil; i++ {
		_, err = x.dropCovered(dir, asideName(name, i), name)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
