package losses

import "strings"

// Kept is the places that survive the next boot: entries that are in place, and what other mounts cover. It is read by
// several goroutines.
type Kept struct {
	places  map[string]bool
	parents map[string]bool
}

// NewKept returns what is kept at places, each an absolute, clean path.
func NewKept(places []string) *Kept {
	k := &Kept{places: map[string]bool{}, parents: map[string]bool{}}
	for _, p := range places {
		k.places[p] = true
		for {
			i := strings.LastIndexByte(p, '/')
			if i <= 0 {
				break
			}
			p = p[:i]
			k.parents[p] = true
		}
	}
	return k
}

// Holds says whether a path is one of the places, or lies below one.
func (k *Kept) Holds(p string) bool {
	for p != "" {
		if k.places[p] {
			return true
		}
		p = p[:strings.LastIndexByte(p, '/')]
	}
	return false
}

// Leads says whether a path is a directory that leads to a place: it is made again at every boot.
func (k *Kept) Leads(p string) bool { return k.parents[p] }
