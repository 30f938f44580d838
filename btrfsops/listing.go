package btrfsops

import (
	"slices"
	"sort"
)

// listing is what a scan has seen of the names of a directory: those in parts of the tree that were written since the fork.
type listing struct {
	seen, fresh, shared uint64   // how many, and the bytes of those that only the root has, and that both have
	last                uint64   // index of the last one that both have
	holes               []hole   // between two that both have
	many                bool     // there are too many holes to remember
	hashes              []uint64 // of those that only the root has, as long as they are few
	unnamed             bool     // they are not few
}

// hole is a range of indexes, both ends in it.
type hole struct{ from, to uint64 }

// A directory with many holes is read instead.
const (
	leastHoles   = 8
	namesPerHole = 24
	maxHashes    = 256
)

// see takes a DIR_INDEX item in, which has one name; see decodeEntries.
func (s *listing) see(i item, fork uint64) error {
	made, err := entryMadeIn(i.data)
	if err != nil {
		return err
	}
	s.seen++
	name := i.data[dirItemFixed:]
	if made > fork {
		s.fresh += uint64(len(name))
		if s.unnamed = len(s.hashes) == maxHashes; !s.unnamed {
			s.hashes = append(s.hashes, nameHash(name))
		}
		return nil
	}
	s.shared += uint64(len(name))
	s.hole(i.offset)
	s.last = i.offset
	return nil
}

// mayHave says whether the root may have a name that the directory's place in the base has lost.
func (s *listing) mayHave(name string) bool {
	return s == nil || s.unnamed || slices.Contains(s.hashes, nameHash([]byte(name)))
}

// hole notes what lies between the last name that both have and the next.
func (s *listing) hole(next uint64) {
	switch {
	case next <= s.last+1:
	case uint64(len(s.holes)) > leastHoles+s.seen/namesPerHole:
		s.many, s.holes = true, nil
	case !s.many:
		s.holes = append(s.holes, hole{s.last + 1, next - 1})
	}
}

// unseen returns where no name was seen that both have, narrow holes first: one that was lost lately leaves a narrow one.
func (s *listing) unseen() []hole {
	s.hole(lastIndex)
	if s.many {
		return []hole{{0, lastIndex}}
	}
	sort.SliceStable(s.holes, func(i, j int) bool { return s.holes[i].to-s.holes[i].from < s.holes[j].to-s.holes[j].from })
	return s.holes
}
