package persist

import (
	"errors"

	"golang.org/x/sys/unix"
)

// openFormer opens the former roots.
func (s *session) openFormer() error {
	s.former = map[string]*resolver{}
	for mountPoint, dir := range s.opts.Former {
		paths, err := newResolver(s.k, dir)
		if err != nil {
			return err
		}
		s.former[mountPoint] = paths
	}
	return nil
}

// formerOf gives the former root that a path of the booted system was on, and the path there; nil for none.
func (s *session) formerOf(p string) (root *resolver, inRoot string) {
	mountPoint := ""
	for at := range s.former {
		if below(p, at) && len(at) > len(mountPoint) {
			mountPoint = at
		}
	}
	switch mountPoint {
	case "":
		return nil, ""
	case "/":
		return s.former["/"], p
	}
	return s.former[mountPoint], p[len(mountPoint):]
}

// lookFormer tells what the former root has in the place of an entry that is to be adopted and has no source yet. What is
// not of the entry's kind does not count.
func (s *session) lookFormer(e Entry, source Object) (Object, error) {
	if !e.Adopt || source.Kind != Absent {
		return Object{}, nil
	}
	root, p := s.formerOf(e.Target)
	if root == nil {
		return Object{}, nil
	}
	dir, name, err := root.parent(p)
	if errors.Is(err, unix.ENOENT) {
		return Object{}, nil
	}
	if err != nil {
		return Object{}, err
	}
	st, err := s.k.stat(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return Object{}, nil
	}
	if o := objectOf(st); err != nil || o.Kind == wantedKind(e.Kind) {
		return o, err
	}
	return Object{}, nil
}

// seedFormer makes the source from what the former root has in its place.
func (x *run) seedFormer(dir int, name, from string) error {
	root, p := x.formerOf(from)
	if root == nil {
		return wrap("find", from+" in the former root", unix.ENOENT)
	}
	return x.seed(root, p, dir, name, from)
}

// adoptFormer plans to make the source from the former root. From here on the source is there.
func (p *planner) adoptFormer() {
	p.makeSourceParents()
	p.add(Step{Op: SeedFormer, Path: p.Entry.Source, From: p.Entry.Target})
	p.facts.Source = p.facts.Former
	p.adopted = true
}

// copyAdopted plans the copy of a file that was just taken from the former root. What this root has there is kept aside.
func (p *planner) copyAdopted() {
	if p.facts.Target.Kind != Absent {
		p.add(Step{Op: MoveAside, Path: p.Entry.Target})
	}
	p.copyIn()
}
