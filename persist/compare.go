package persist

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// compare finds out how source and place relate, with as little reading as possible: nothing is read when the place is
// absent, empty or mounted.
func (s *session) compare(e Entry, f *EntryFacts) error {
	target := &f.Target
	if target.Mount {
		if target.ID != f.Source.ID || f.Source.Kind == Absent {
			return nil
		}
		if err := s.compareHidden(e, f); err != nil || len(e.MountOptions) == 0 {
			return err
		}
		return s.compareOptions(e, f)
	}
	if target.Kind != IsDirectory && target.Kind != IsFile {
		return nil
	}
	dir, name, err := s.paths.parent(e.Target)
	if err != nil {
		return err
	}
	if target.Kind == IsDirectory {
		if target.Empty, err = s.k.emptyDir(dir, name); err != nil {
			return err
		}
	}
	if f.Source.Kind != target.Kind || target.Empty && e.Method != Copy {
		return nil
	}
	return s.compareContent(e, f, dir, name)
}

// compareContent looks for what the place has and the source lacks.
func (s *session) compareContent(e Entry, f *EntryFacts, dir int, name string) error {
	sourceDir, source, err := s.paths.parent(e.Source)
	if err != nil {
		return err
	}
	if e.Method == Copy && f.Target.Kind == IsFile {
		f.Copy, err = s.copyFacts(sourceDir, source, dir, name)
		if err != nil || f.Copy.Noted != "" || f.Target.Empty {
			return err
		}
	}
	return s.difference(e, f, dir, name, sourceDir, source)
}

// difference looks for something in a place that the source lacks, unless it is what the source was made from, or what the fresh
// root was made from has it. What can't be compared counts as such.
func (s *session) difference(e Entry, f *EntryFacts, dir int, name string, sourceDir int, source string) error {
	if seed := s.k.readXattr(sourceDir, source, attrSeed); seed != nil {
		if now, err := s.reads.seedSum(dir, name); err == nil && string(now) == string(seed) {
			return nil
		}
	}
	if s.asCopied(e, dir, name) {
		return nil
	}
	missing, err := s.reads.missingFrom(dir, name, sourceDir, source)
	f.Compared = err == nil
	switch {
	case errors.Is(err, ErrUnsafePath), s.reads.canceled() != nil:
		return err
	case err != nil: // one damaged file is not to keep all others from their places
		f.Difference = fmt.Sprintf("%s can't be compared: %v", e.Target, err)
	case missing != "":
		f.Difference = path.Join(path.Dir(e.Target), missing)
	}
	return nil
}

// compareHidden looks beneath a mount that is in place: a conflict stays one as long as something is hidden. It looks through
// a copy of the parent's mount that has no mounts on it. Who may not make one (a sandbox) sees no conflict.
func (s *session) compareHidden(e Entry, f *EntryFacts) error {
	beneath, err := s.withoutMounts(path.Dir(e.Target))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	name := path.Base(e.Target)
	st, err := s.k.stat(beneath, name)
	if errors.Is(err, unix.ENOENT) {
		return nil // the place is a mount's own, on another mount than its parent
	}
	if err != nil {
		return err
	}
	hidden := objectOf(st)
	if hidden.Kind == IsDirectory {
		if hidden.Empty, err = s.k.emptyDir(beneath, name); err != nil {
			return err
		}
	}
	if hidden.Empty || hidden.Kind != f.Source.Kind {
		return nil
	}
	sourceDir, source, err := s.paths.parent(e.Source)
	if err != nil {
		return err
	}
	return s.difference(e, f, beneath, name, sourceDir, source)
}

// withoutMounts gives a directory as it is beneath all mounts in it. The session keeps it.
func (s *session) withoutMounts(p string) (int, error) {
	if fd, ok := s.beneath[p]; ok {
		return fd, nil
	}
	dir, err := s.paths.dir(p)
	if err != nil {
		return -1, err
	}
	if len(s.beneath) >= maxOpen {
		s.closeBeneath()
	}
	fd, err := s.k.cloneTree(dir, "")
	if err == nil {
		s.beneath[p] = fd
	}
	return fd, err
}

func (s *session) closeBeneath() {
	for _, fd := range s.beneath {
		s.k.close(fd)
	}
	clear(s.beneath)
}

// compareOptions looks whether the mount in place has the options that are configured.
func (s *session) compareOptions(e Entry, f *EntryFacts) error {
	dir, name, err := s.paths.parent(e.Target)
	if err != nil {
		return err
	}
	fd, err := s.k.open(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer s.k.close(fd)
	flags, err := s.k.mountFlags(fd)
	if err != nil {
		return err
	}
	set, clear := mountAttributes(e.MountOptions)
	f.OptionsDiffer = flags&set != set || flags&clear&^set != 0
	return nil
}
