package persist

import (
	"context"
	"errors"
	"slices"
)

// SeedVolume copies what stands in the places of entries to their volumes, as Apply does, and puts nothing in place: the root
// stays as it is. What a volume has already stays as well. Entries on volumes that are not mounted are left out, with ErrNoVolume.
func SeedVolume(ctx context.Context, opts Options, entries []Entry) (Report, error) {
	return seedVolume(ctx, &kernel{}, opts, entries)
}

func seedVolume(ctx context.Context, k *kernel, opts Options, entries []Entry) (Report, error) {
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
		report, err = s.seedVolume(ctx, entries)
		return err
	})
	return report, err
}

func (s *session) seedVolume(ctx context.Context, entries []Entry) (Report, error) {
	var report Report
	var problems []error
	for _, wave := range waves(entries) {
		for _, i := range wave {
			if err := ctx.Err(); err != nil {
				return report, errors.Join(append(problems, err)...)
			}
			e := entries[i]
			facts := s.entryFacts(e)
			p := planOne(s.users, facts, e)
			p.Steps = slices.DeleteFunc(p.Steps, func(step Step) bool { return !onVolume(e, step) })
			result := s.applyOne(ctx, p, facts)
			report.Results = append(report.Results, result)
			if result.Err != nil {
				problems = append(problems, entryError(e, result.Err))
			}
		}
		s.endWave()
	}
	return report, errors.Join(problems...)
}

// onVolume tells whether a step makes or fills the source.
func onVolume(e Entry, s Step) bool {
	switch s.Op {
	case MakeParent, MakeDirectory, MakeFile, SetOwner, Seed, CopyOut:
		return s.Path == e.Source || Below(e.Source, s.Path) && Below(s.Path, e.Volume)
	case SeedFormer, MoveAside, RemoveLink, MakePlace, Mirror, BindMount, SetOptions, MakeLink, CopyIn, PutBack, NoteSeed, NoteCopy:
	}
	return false
}
