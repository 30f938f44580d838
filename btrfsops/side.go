package btrfsops

import (
	"fmt"
)

// side is one of the two subvolumes of a comparison, as one worker sees it.
type side struct {
	*view
	other  *side
	fork   uint64 // the last transaction that both share
	places recent[uint64, place]
}

// place is where a directory stands.
type place struct {
	path    string // "" for the root itself
	partner uint64 // the inode number of the same directory on the other side; 0: it has none
}

// twin finds the same inode on the other side: what was there when both were one, and is there still.
func (s *side) twin(n inode) (twin inode, found bool, err error) {
	if n.generation > s.fork {
		return twin, false, nil
	}
	twin, found, err = s.other.inode(n.number)
	if err != nil || !found || !twin.same(n) {
		return inode{}, false, err
	}
	return twin, true, nil
}

// place tells where a directory of this side stands, and which one of the other side is the same: the twin, wherever it is
// now; else the one at the same place, when that has no twin itself: a directory that was deleted and made again. So no
// directory has two partners, and the partner's partner is the directory.
func (s *side) place(number uint64) (place, error) {
	if p, known := s.places.get(number); known {
		return p, nil
	}
	p, err := s.find(number)
	if err != nil {
		return place{}, err
	}
	s.places.put(number, p, len(p.path))
	return p, nil
}

func (s *side) find(number uint64) (place, error) {
	if number == firstFreeID {
		p := place{}
		if s.other.view != nil {
			p.partner = firstFreeID
		}
		return p, nil
	}
	n, found, err := s.inode(number)
	if err != nil {
		return place{}, err
	}
	if !found || !n.isDirectory() || len(n.links) != 1 {
		return place{}, fmt.Errorf("%w: inode %d of subvolume %d is no directory any more", ErrStateChanged, number, s.id)
	}
	up, err := s.place(n.links[0].dir)
	if err != nil {
		return place{}, err
	}
	p := place{path: join(up.path, n.links[0].name)}
	p.partner, err = s.partner(n, up)
	return p, err
}

// partner finds the same directory on the other side.
func (s *side) partner(n inode, up place) (uint64, error) {
	twin, found, err := s.twin(n)
	if err != nil || found {
		return twin.number, err
	}
	e, err := s.opposite(up, n.links[0].name)
	if err != nil || e.class != classDirectory {
		return 0, err
	}
	made, found, err := s.other.inode(e.target)
	if err != nil || !found {
		return 0, err
	}
	if _, found, err = s.other.twin(made); err != nil || found {
		return 0, err
	}
	return e.target, nil
}

// opposite looks up what the other side has at a name in the same directory.
func (s *side) opposite(dir place, name string) (entry, error) {
	if dir.partner == 0 {
		return entry{}, nil
	}
	return s.other.entry(dir.partner, name)
}

// join appends a name to a path.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// recentBytes is how much of a cache stays for sure, and recentEntry what one entry costs beside what is told.
const (
	recentBytes = 256 << 10
	recentEntry = 96
)

// recent keeps what was used last, within a bound: when the young ones are many, the old ones go. Its zero value is empty.
type recent[K comparable, V any] struct {
	young, old map[K]V
	bytes      int
}

func (r *recent[K, V]) get(k K) (v V, known bool) {
	if v, known = r.young[k]; known {
		return v, true
	}
	if v, known = r.old[k]; known {
		r.put(k, v, 0)
	}
	return v, known
}

// put keeps a value of some bytes.
func (r *recent[K, V]) put(k K, v V, bytes int) {
	if r.young == nil || r.bytes > recentBytes {
		r.young, r.old, r.bytes = map[K]V{}, r.young, 0
	}
	r.young[k] = v
	r.bytes += bytes + recentEntry
}
