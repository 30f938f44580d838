package persist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// EntryFor makes the entry that keeps what is at a path of the running system on a volume. It fails when there is nothing, or
// something that is neither a directory nor a file.
func EntryFor(opts Options, volume, p string) (Entry, error) {
	e := Entry{Target: path.Clean(p), Volume: path.Clean(volume)}
	e.Source = path.Join(e.Volume, e.Target)
	switch {
	case !path.IsAbs(p) || e.Target == "/" || strings.Contains(p, "\x00"):
		return e, fmt.Errorf("%q: %w", p, ErrInvalidEntry)
	case e.Target == e.Volume, Below(e.Target, e.Volume), Below(e.Volume, e.Target):
		return e, fmt.Errorf("%s and the volume %s lie in one another: %w", e.Target, e.Volume, ErrInvalidEntry)
	}
	s, err := newSession(&kernel{}, opts, nil)
	if err != nil {
		return e, err
	}
	defer s.close()
	found, _, err := s.look(e.Target)
	switch {
	case err != nil:
		return e, err
	case found.Kind == Absent:
		return e, fmt.Errorf("%s: %w", e.Target, ErrSourceMissing)
	case found.Kind == IsFile:
		e.Kind = File
	case found.Kind != IsDirectory:
		return e, fmt.Errorf("%s is %s: %w", e.Target, found.Kind, ErrWrongKind)
	}
	return e, nil
}

// Adoption is what it takes to begin to keep an entry in the running system.
type Adoption struct {
	Planned
	// Kept tells that there is something at the source already: whatever is in the place by the next boot, that boot shows the source's.
	Kept bool
	// Writers have files open for writing or work in directories there. What they write after the change would go to what is hidden
	// then.
	Writers []Writer
}

// WritersError is why something can't be adopted now: ErrBusy, with those who keep it so.
type WritersError struct {
	Target  string
	Writers []Writer
}

// Error names the writers, and apart from them those who would go on working in what is hidden then.
func (e *WritersError) Error() string {
	var writers, others []string
	for _, w := range e.Writers {
		if w.Use == Writes || w.Use == Maps {
			writers = append(writers, w.String())
		} else {
			others = append(others, w.String())
		}
	}
	var parts []string
	if len(writers) > 0 {
		parts = append(parts, "open for writing: "+strings.Join(writers, ", "))
	}
	if len(others) > 0 {
		parts = append(parts, "would go on in the old directory, which nobody else sees then: "+strings.Join(others, ", "))
	}
	return fmt.Sprintf("adopt %s: %s", e.Target, strings.Join(parts, "; "))
}

// Is makes it ErrBusy.
func (e *WritersError) Is(target error) bool { return target == ErrBusy }

// PlanAdopt gives what Adopt would do. It changes nothing.
func PlanAdopt(ctx context.Context, opts Options, e Entry) (Adoption, error) {
	s, err := newSession(&kernel{}, opts, []Entry{e})
	if err != nil {
		return Adoption{}, err
	}
	defer s.close()
	s.until(ctx)
	entries := s.resolveHomes([]Entry{e})
	if err := s.validate(entries); err != nil {
		return Adoption{}, err
	}
	facts := s.entryFacts(entries[0])
	a := Adoption{Planned: planOne(s.users, facts, entries[0]), Kept: facts.Source.Kind != Absent}
	if hides(a.Steps) {
		a.Writers, err = writersBelow(path.Join("/", opts.sysroot, a.Entry.Target))
	}
	return a, err
}

// hides tells whether a plan puts something over what is in place, or in its stead.
func hides(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Op == BindMount || s.Op == MakeLink || s.Op == CopyIn })
}

// Adopt begins to keep an entry in the running system: what is in its place is copied to the volume, synced and verified, and
// then put in place. It refuses with a WritersError when something there is open for writing or worked in, and leaves a conflict as it
// is: then its result is Failed. Recording the entry, so that it is there at the next boot, is up to the caller, and comes
// first: a crash in between leaves an entry that the next boot completes.
func Adopt(ctx context.Context, opts Options, e Entry) (Result, error) {
	return adopt(ctx, &kernel{}, opts, e)
}

func adopt(ctx context.Context, k *kernel, opts Options, e Entry) (Result, error) {
	refused := func(err error) (Result, error) {
		return Result{Target: e.Target, Source: e.Source, Kind: e.Kind, Method: e.Method, State: Failed, Error: err.Error(), Err: err}, err
	}
	a, err := PlanAdopt(ctx, opts, e)
	if err != nil {
		return refused(err)
	}
	if len(a.Writers) > 0 {
		return refused(&WritersError{Target: a.Entry.Target, Writers: a.Writers})
	}
	if a.State == Conflict || a.State == Failed {
		return refused(fmt.Errorf("adopt %s: %w", a.Entry.Target, a.Err))
	}
	opts.Running = true
	report, err := apply(ctx, k, opts, []Entry{e})
	if len(report.Results) == 0 {
		return refused(errors.Join(err, ctx.Err()))
	}
	return report.Results[0], err
}
