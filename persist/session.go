package persist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// session is one run over entries.
type session struct {
	k       *kernel
	reads   *kernel // as k; for what may read much, see until
	opts    Options
	paths   *resolver
	make    *maker
	users   Users
	volumes map[string]error // path of a volume -> why nothing can be kept there
	prefix  string           // what this process puts before paths of the root; empty: nothing
	parents map[string]bool  // those that were made for entries of this wave
	unmade  map[string]bool  // sources that could not be made
	beneath map[string]int   // see withoutMounts
	table   mountTable
	former  map[string]*resolver // see Options.Former; by directory
	copied  map[string]*resolver // see Options.Template; nil: not asked for yet
}

func newSession(k *kernel, opts Options, entries []Entry) (*session, error) {
	paths, err := newResolver(k, opts.sysroot)
	if err != nil {
		return nil, err
	}
	s := &session{
		k: k, reads: k, opts: opts, paths: paths, prefix: strings.TrimSuffix(path.Join("/", opts.sysroot), "/"),
		volumes: map[string]error{}, parents: map[string]bool{}, unmade: map[string]bool{}, beneath: map[string]int{}, former: map[string]*resolver{},
	}
	s.users = ParseUsers(s.account("/etc/passwd", entries), s.account("/etc/group", entries))
	return s, nil
}

// until has the session compare nothing more when ctx ends: it may have whole trees to read.
func (s *session) until(ctx context.Context) { s.reads = s.k.until(ctx) }

func (s *session) close() {
	s.closeBeneath()
	closeRoots(s.former)
	closeRoots(s.copied)
	s.paths.close()
}

// account reads a file of users or groups: from where it is kept, when it is itself an entry or in one, else from the root.
func (s *session) account(file string, entries []Entry) []byte {
	for _, e := range entries {
		if !Within(file, e.Target) {
			continue
		}
		if data, err := s.paths.readFile(path.Join(e.Source, file[len(e.Target):])); err == nil {
			return data
		}
	}
	data, err := s.paths.readFile(file)
	if err != nil {
		return nil
	}
	return data
}

// resolveHomes gives entries their final paths: those in a home follow the passwd file.
func (s *session) resolveHomes(entries []Entry) []Entry {
	inHome := func(e Entry) bool { return e.Home != "" && e.BelowHome != "" }
	if !slices.ContainsFunc(entries, inHome) {
		return entries
	}
	resolved := slices.Clone(entries)
	for i := range resolved {
		if e := &resolved[i]; inHome(*e) {
			e.Target = path.Join(s.users.homeDir(*e), e.BelowHome)
			e.Source = path.Join(e.Volume, e.Target)
		}
	}
	return resolved
}

// facts finds out what Plan needs to know.
func (s *session) facts(entries []Entry) Facts {
	f := Facts{Users: s.users, Entries: make([]EntryFacts, len(entries))}
	for i, e := range entries {
		f.Entries[i] = s.entryFacts(e)
	}
	return f
}

// stands looks at source and place of an entry, and compares nothing.
func (s *session) stands(e Entry) (f EntryFacts, err error) {
	if err = s.volume(e.Volume); err == nil {
		f.Source, _, err = s.look(e.Source)
	}
	if err == nil {
		f.Target, _, err = s.look(e.Target)
	}
	return f, err
}

func (s *session) entryFacts(e Entry) EntryFacts {
	var f EntryFacts
	if f.Err = s.volume(e.Volume); f.Err != nil {
		return f
	}
	if f.Source, f.SourceParents, f.Err = s.look(e.Source); f.Err != nil {
		return f
	}
	if f.Err = s.later(e, f.Source); f.Err != nil {
		return f
	}
	if f.Target, f.TargetParents, f.Err = s.look(e.Target); f.Err != nil {
		return f
	}
	if f.Former, f.Err = s.lookFormer(e, f.Source); f.Err != nil {
		return f
	}
	for i := range f.SourceParents {
		parent := &f.SourceParents[i]
		parent.Target = parent.Path[len(e.Volume):]
		if s.unmade[parent.Path] { // made as a parent, it would never be seeded
			f.Err = fmt.Errorf("%s, which it lies in, is not on the volume: %w", parent.Target, ErrSourceMissing)
			return f
		}
		if s.parents[parent.Target] {
			continue // it says nothing: it was made for an entry of this wave
		}
		if parent.Counterpart, _, f.Err = s.look(parent.Target); f.Err != nil {
			return f
		}
	}
	if f.Itself, f.Err = s.itself(e, &f); f.Err == nil && !f.Itself {
		f.Err = s.compare(e, &f)
	}
	return f
}

// itself tells whether an entry's place is its source: in a home that the passwd file has inside another entry, or through a symlink of root's.
func (s *session) itself(e Entry, f *EntryFacts) (bool, error) {
	if f.Source.Kind != Absent || f.Target.Kind != Absent {
		return f.Source.Kind != Absent && f.Source.ID == f.Target.ID && !f.Target.Mount, nil
	}
	source, sourceRest, err := s.wayTo(e.Source, f.SourceParents)
	if err != nil {
		return false, err
	}
	target, targetRest, err := s.wayTo(e.Target, f.TargetParents)
	return source == target && sourceRest == targetRest, err
}

// wayTo gives the last directory that is there on the way to a path, and what is missing below it.
func (s *session) wayTo(p string, missing []MissingParent) (InodeID, string, error) {
	first := p
	if len(missing) > 0 {
		first = missing[0].Path
	}
	dir, _, err := s.paths.parent(first)
	if err != nil {
		return InodeID{}, "", err
	}
	st, err := s.k.stat(dir, "")
	return objectOf(st).ID, p[len(path.Dir(first)):], err
}

// volume tells why nothing can be kept on a volume: it isn't there, or it is only a directory of what is fresh at each boot, which
// is what remains of it when it is not mounted.
func (s *session) volume(p string) error {
	if err, known := s.volumes[p]; known {
		return err
	}
	err := checkVolume(s.paths, s.opts.ephemeral, p)
	s.volumes[p] = err
	return err
}

// VolumeMounted tells whether something can be kept on a volume now, as far as it is mounted.
func VolumeMounted(opts Options, volume string) bool {
	paths, err := newResolver(&kernel{}, opts.sysroot)
	if err != nil {
		return false
	}
	defer paths.close()
	return checkVolume(paths, opts.ephemeral, volume) == nil
}

// checkVolume tells the same, and why not.
func checkVolume(paths *resolver, ephemeral []string, p string) error {
	fd, err := paths.dir(p)
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%s: %w", p, ErrNoVolume)
	}
	if err != nil {
		return err
	}
	st, err := paths.k.stat(fd, "")
	if err != nil {
		return err
	}
	for _, at := range append([]string{"/"}, ephemeral...) {
		if !Within(p, at) {
			continue
		}
		dir, err := paths.dir(at)
		if err != nil {
			return err
		}
		root, err := paths.k.stat(dir, "")
		if err != nil {
			return err
		}
		if st.Dev_major == root.Dev_major && st.Dev_minor == root.Dev_minor {
			return fmt.Errorf("%s is a part of what is mounted at %s: %w", p, at, ErrNoVolume)
		}
	}
	return nil
}

// look tells what stands at a path, and which of its parents are missing.
func (s *session) look(p string) (Object, []MissingParent, error) {
	dir, name, err := s.paths.parent(p)
	if errors.Is(err, unix.ENOENT) {
		parents, err := s.missingParents(path.Dir(p))
		return Object{}, parents, err
	}
	if err != nil {
		return Object{}, nil, err
	}
	st, err := s.k.stat(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return Object{}, nil, nil
	}
	if err != nil {
		return Object{}, nil, err
	}
	o := objectOf(st)
	if o.Kind == IsSymlink {
		if o.Link, err = s.k.readLink(dir, name); err != nil {
			return Object{}, nil, err
		}
		o.Dangling = s.dangling(p, o.Link)
	}
	return o, nil, nil
}

// missingParents lists the directories that don't exist on the way to dir and dir itself, outermost first.
func (s *session) missingParents(dir string) ([]MissingParent, error) {
	var missing []MissingParent
	for ; dir != "/"; dir = path.Dir(dir) {
		_, err := s.paths.dir(dir)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		missing = append(missing, MissingParent{Path: dir, Target: dir})
	}
	for i, j := 0, len(missing)-1; i < j; i, j = i+1, j-1 {
		missing[i], missing[j] = missing[j], missing[i]
	}
	return missing, nil
}

// dangling tells whether a symlink leads to nothing. Only the answer is used, nothing is opened through it.
func (s *session) dangling(p, link string) bool {
	if !path.IsAbs(link) {
		link = path.Join(path.Dir(p), link)
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(s.paths.root, "."+link, &how)
	s.k.close(fd)
	return errors.Is(err, unix.ENOENT)
}
