package persist

import (
	"context"
	"errors"
	"fmt"
	"sort"
)

// Unmount takes the mounts of entries away, deepest first. What is kept stays kept; symlinks and copies stay in place. A
// mount that is in use is ErrBusy.
func Unmount(ctx context.Context, opts Options, entries []Entry) error {
	return onThread(func() error {
		s, err := newSession(&kernel{}, opts, entries)
		if err != nil {
			return err
		}
		defer s.close()
		return s.unmount(ctx, s.resolveHomes(entries))
	})
}

func (s *session) unmount(ctx context.Context, entries []Entry) error {
	sort.SliceStable(entries, func(a, b int) bool { return ComparePaths(entries[a].Target, entries[b].Target) > 0 })
	if err := s.beginTable(nil); err != nil {
		return err
	}
	s.table.remove = map[string]bool{}
	var problems []error
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			problems = append(problems, err)
			break
		}
		gone, err := s.unmountEntry(e)
		if err != nil {
			problems = append(problems, fmt.Errorf("unmount %s: %w", e.Target, err))
		}
		if gone && len(s.tableOptions(e)) > 0 {
			s.table.remove[s.tableTarget(e)] = true
		}
	}
	if err := s.table.write(s.k); err != nil {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// unmountEntry takes away the mount of an entry, if what is mounted there is its source. It tells whether none is left.
func (s *session) unmountEntry(e Entry) (bool, error) {
	defer s.paths.forget()
	defer s.closeBeneath()
	f, err := s.stands(e)
	if err != nil || !f.mounted() {
		return err == nil, err
	}
	dir, name, err := s.paths.parent(e.Target)
	if err != nil {
		return false, err
	}
	err = s.k.unmount(dir, name)
	return err == nil, err
}
