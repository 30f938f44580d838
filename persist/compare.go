package persist

import (
	"path"

	"golang.org/x/sys/unix"
)

// compare finds out how source and place relate, with as little reading as possible: nothing is read when the place is
// absent, empty or mounted.
func (s *session) compare(e Entry, f *EntryFacts) error {
	target := &f.Target
	if target.Mount {
		if len(e.MountOptions) > 0 && target.ID == f.Source.ID {
			return s.compareOptions(e, f)
		}
		return nil
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
	if seed := s.k.readXattr(sourceDir, source, attrSeed); seed != nil {
		if now, err := s.k.fingerprint(dir, name); err == nil && string(now) == string(seed) {
			return nil // it is what the source was made from
		}
	}
	f.Difference, err = s.k.missingFrom(dir, name, sourceDir, source)
	if f.Difference != "" {
		f.Difference = path.Join(path.Dir(e.Target), f.Difference)
	}
	return err
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
