package persist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
)

// Apply puts entries in their places and returns what it did. An entry that fails does not keep others from being applied;
// the error then joins those of all. When an entry is invalid (its user does not exist) nothing is changed, unless
// Options.KeepGoing. When ctx ends, so does a copy that is under way, and nothing of it is left.
func Apply(ctx context.Context, opts Options, entries []Entry) (Report, error) {
	return apply(ctx, &kernel{}, opts, entries)
}

func apply(ctx context.Context, k *kernel, opts Options, entries []Entry) (Report, error) {
	var report Report
	err := onThread(func() error {
		s, err := newSession(k, opts, entries)
		if err != nil {
			return err
		}
		defer s.close()
		s.until(ctx)
		s.make = newMaker(k)
		entries = s.resolveHomes(entries)
		if err := s.validate(entries); err != nil && !opts.KeepGoing {
			return err
		}
		report, err = s.apply(ctx, entries)
		return err
	})
	return report, err
}

// Inspect says how entries stand. It changes nothing. The error may be the context's: then nothing is told.
func Inspect(ctx context.Context, opts Options, entries []Entry) ([]Status, error) {
	s, err := newSession(&kernel{}, opts, entries)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.until(ctx)
	entries = s.resolveHomes(entries)
	plans := Plan(s.facts(entries), entries)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	statuses := make([]Status, len(plans))
	for i, p := range plans {
		statuses[i] = Status{Entry: p.Entry, Method: p.Method, State: p.State, Err: p.Err}
	}
	return statuses, nil
}

// validate finds what is wrong with entries whatever the disk holds: users and groups that don't exist, and two entries for
// one place, which may show only when homes are known.
func (s *session) validate(entries []Entry) error {
	var problems []error
	targets := make(map[string]int, len(entries))
	for i, e := range entries {
		if first, ok := targets[e.Target]; ok {
			problems = append(problems, entryError(e, fmt.Errorf("%w: %s is configured twice, first in %s", ErrInvalidEntry, e.Target, entries[first].Origin)))
		}
		targets[e.Target] = i
		if _, err := s.users.sourceOwner(e); invalid(err) {
			problems = append(problems, entryError(e, err))
		}
	}
	return errors.Join(problems...)
}

// entryError names the place of an entry in the configuration, when it has one.
func entryError(e Entry, err error) error {
	if e.Origin.File != "" {
		return fmt.Errorf("%s: %s: %w", e.Origin, e.Target, err)
	}
	return fmt.Errorf("%s: %w", e.Target, err)
}

// apply puts entries in place, those that others lie in first. Entries of one wave don't lie in one another: what is done for
// one changes no facts of the next, but for the parents that are made.
func (s *session) apply(ctx context.Context, entries []Entry) (Report, error) {
	report := Report{Results: make([]Result, len(entries))}
	for i, e := range entries {
		report.Results[i] = Result{Target: e.Target, Source: e.Source, Kind: e.Kind, Method: e.Method, State: Missing, Origin: e.Origin.String()}
	}
	var problems []error
	if err := s.beginTable(entries); err != nil {
		problems = append(problems, err)
	}
	for _, wave := range waves(entries) {
		if err := ctx.Err(); err != nil {
			return report, errors.Join(append(problems, err)...)
		}
		for _, i := range wave {
			facts := s.entryFacts(entries[i])
			result := s.applyOne(ctx, planOne(s.users, facts, entries[i]), facts)
			if result.Err != nil {
				problems = append(problems, entryError(entries[i], result.Err))
			}
			report.Results[i] = result
			if s.opts.Done != nil {
				s.opts.Done(result)
			}
		}
		s.endWave()
	}
	if err := s.table.write(s.k); err != nil {
		problems = append(problems, fmt.Errorf("tell file managers which mounts to hide: %w", err))
	}
	return report, errors.Join(problems...)
}

// endWave forgets what holds within a wave only: what is mounted by now hides what paths led to.
func (s *session) endWave() {
	s.paths.forget()
	clear(s.parents)
}

func (s *session) applyOne(ctx context.Context, p Planned, facts EntryFacts) Result {
	r := Result{Target: p.Entry.Target, Source: p.Entry.Source, Kind: p.Entry.Kind, Method: p.Method, State: p.State, Origin: p.Entry.Origin.String(), Err: p.Err}
	var left error
	err := ctx.Err()
	if err == nil && s.opts.Running && hides(p.Steps) {
		err = s.refuseWriters(p.Entry)
	}
	if err == nil {
		var done []string
		done, left, err = s.execute(ctx, p, facts)
		r.Actions = strings.Join(slices.Compact(done), ", ")
	}
	if facts.Target.Mount && facts.Target.ID == facts.Source.ID {
		s.noteMount(p.Entry, facts.Target.MountID, facts.Source.MountID)
	}
	switch {
	case err != nil:
		r.State, r.Err = Failed, err
	case left != nil && p.State == Conflict:
		r.Err = errors.Join(p.Err, left)
	case left != nil:
		r.State, r.Err = Drifted, left
	case p.State == Missing && len(p.Steps) > 0, p.State == Drifted:
		r.State, r.Err = InPlace, nil
	}
	if r.Err != nil {
		r.Error = r.Err.Error()
		source, _, err := s.look(p.Entry.Source)
		s.unmade[p.Entry.Source] = err == nil && source.Kind == Absent
	}
	return r
}

// refuseWriters fails when a program uses what is in a place: what it writes from then on would be hidden.
func (s *session) refuseWriters(e Entry) error {
	writers, err := writersBelow(path.Join("/", s.opts.sysroot, e.Target))
	if err == nil && len(writers) > 0 {
		err = &WritersError{Target: e.Target, Writers: writers}
	}
	return err
}

// waves sorts entries by what they lie in: the first wave holds those that lie in no other, the next those that lie in one
// of the first, and so on. Each is in the order of paths, so that parents are opened once.
func waves(entries []Entry) [][]int {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return ComparePaths(entries[order[a]].Target, entries[order[b]].Target) < 0 })
	var result [][]int
	var around []string
	for _, i := range order {
		target := entries[i].Target
		for len(around) > 0 && !Below(target, around[len(around)-1]) {
			around = around[:len(around)-1]
		}
		if len(around) == len(result) {
			result = append(result, nil)
		}
		result[len(around)] = append(result[len(around)], i)
		around = append(around, target)
	}
	return result
}
