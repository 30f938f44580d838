package persist

import (
	"errors"

	"golang.org/x/sys/unix"
)

// openRoots opens roots other than the one being booted, by the mount points that they are or were at.
func openRoots(k *kernel, dirs map[string]string) (map[string]*resolver, error) {
	roots := map[string]*resolver{}
	for mountPoint, dir := range dirs {
		paths, err := newResolver(k, dir)
		if err != nil {
			closeRoots(roots)
			return nil, err
		}
		roots[mountPoint] = paths
	}
	return roots, nil
}

func closeRoots(roots map[string]*resolver) {
	for _, paths := range roots {
		paths.close()
	}
}

// rootOf gives the one of the roots that a path of the booted system is on, and the path there; nil for none.
func rootOf(roots map[string]*resolver, p string) (root *resolver, inRoot string) {
	mountPoint := ""
	for at := range roots {
		if Below(p, at) && len(at) > len(mountPoint) {
			mountPoint = at
		}
	}
	switch mountPoint {
	case "":
		return nil, ""
	case "/":
		return roots["/"], p
	}
	return roots[mountPoint], p[len(mountPoint):]
}

// asCopied tells whether what fresh roots are copies of has all that is in a place.
func (s *session) asCopied(e Entry, dir int, name string) bool {
	if s.opts.Template == nil {
		return false
	}
	if s.copied == nil {
		s.copied, _ = openRoots(s.k, s.opts.Template()) // what can't be read tells nothing
	}
	root, p := rootOf(s.copied, e.Target)
	if root == nil {
		return false
	}
	original, originalName, err := root.parent(p)
	if err != nil {
		return false
	}
	missing, err := s.reads.missing(dir, name, original, originalName, true)
	return err == nil && missing == ""
}

// formerOf gives the root that an entry is to be adopted from, and the path there; nil: in its place.
func (s *session) formerOf(e Entry) (root *resolver, p string, err error) {
	if s.opts.Former == nil {
		return nil, "", nil
	}
	dir, p, err := s.opts.Former(e)
	if err != nil || dir == "" {
		return nil, "", err
	}
	root = s.former[dir]
	if root == nil {
		if root, err = newResolver(s.k, dir); err != nil {
			return nil, "", err
		}
		s.former[dir] = root
	}
	return root, p, nil
}

// lookFormer tells what a former root has in the place of an entry that is to be adopted and has no source yet. What is
// not of the entry's kind does not count.
func (s *session) lookFormer(e Entry, source Object) (Object, error) {
	if !e.Adopt || source.Kind != Absent {
		return Object{}, nil
	}
	root, p, err := s.formerOf(e)
	if err != nil || root == nil {
		return Object{}, err
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

// seedFormer makes the source from what a former root has in its place.
func (x *run) seedFormer(dir int, name, from string) error {
	root, p, err := x.formerOf(x.entry)
	if err == nil && root == nil {
		err = wrap("find", from+" in a former root", unix.ENOENT)
	}
	if err != nil {
		return err
	}
	return x.seed(root, p, dir, name, from)
}

// adoptFormer plans to make the source from a former root. From here on the source is there.
func (p *planner) adoptFormer() {
	p.makeSourceParents()
	p.add(Step{Op: SeedFormer, Path: p.Entry.Source, From: p.Entry.Target})
	p.facts.Source = p.facts.Former
	p.adopted = true
}

// copyAdopted plans the copy of a file that was just taken from a former root. What this root has there is kept aside.
func (p *planner) copyAdopted() {
	if p.facts.Target.Kind != Absent {
		p.add(Step{Op: MoveAside, Path: p.Entry.Target})
	}
	p.copyIn()
}
