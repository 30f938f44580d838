package persist

import (
	"path"
	"strings"
)

// recordDir is where the entries that were added at run time are recorded on their volume.
const recordDir = ".impermanence"

// Orphan is something that lies on a volume and that no entry declares.
type Orphan struct {
	Path string // in the booted system
	Kind ObjectKind
}

// Orphans lists what lies on a volume and no entry declares any more: of each tree only its top. What is mounted there, such as another
// volume, is none, nor is what holds such a place. Nothing is deleted.
func Orphans(opts Options, volume string, entries []Entry) ([]Orphan, error) {
	s, err := newSession(&kernel{}, opts, entries)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.volume(volume); err != nil {
		return nil, err
	}
	if err := s.table.readMounts(); err != nil {
		return nil, err
	}
	declared, above := map[string]bool{}, map[string]bool{}
	declare := func(p string) {
		declared[p] = true
		for p = path.Dir(p); p != "/" && !above[p]; p = path.Dir(p) {
			above[p] = true
		}
	}
	for _, e := range s.resolveHomes(entries) {
		declare(e.Source)
	}
	for _, m := range s.table.mounts {
		if p, inside := strings.CutPrefix(m.point, s.prefix); inside && Below(p, volume) {
			declare(p)
		}
	}
	declared[path.Join(volume, recordDir)] = true
	return s.orphansBelow(volume, declared, above)
}

// orphansBelow looks into a directory that holds entries, or the volume itself.
func (s *session) orphansBelow(p string, declared, above map[string]bool) ([]Orphan, error) {
	dir, err := s.paths.dir(p)
	if err != nil {
		return nil, err
	}
	fd, err := s.k.open(dir, ".", openFlags)
	if err != nil {
		return nil, err
	}
	defer s.k.close(fd)
	names, err := s.k.names(fd)
	if err != nil {
		return nil, err
	}
	var orphans []Orphan
	for _, name := range names {
		child := path.Join(p, name)
		if declared[child] {
			continue
		}
		st, err := s.k.stat(fd, name)
		if err != nil {
			return orphans, err
		}
		o := objectOf(st)
		if above[child] && o.Kind == IsDirectory {
			below, err := s.orphansBelow(child, declared, above)
			orphans = append(orphans, below...)
			if err != nil {
				return orphans, err
			}
			continue
		}
		orphans = append(orphans, Orphan{Path: child, Kind: o.Kind})
	}
	return orphans, nil
}
