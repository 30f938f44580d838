package config

import (
	"fmt"
	"slices"
	"sort"

	"github.com/impermanence/impermanence/persist"
)

// checkEntries finds entries that can't be together: two for one place, one inside another of the same volume, and those
// that hold a persistent volume or are on one.
func (d *decoder) checkEntries(volumes []persist.Volume) {
	var entries []*persist.Entry
	for _, v := range volumes {
		entries = slices.Grow(entries, len(v.Entries))
		for i := range v.Entries {
			entries = append(entries, &v.Entries[i])
		}
	}
	sort.SliceStable(entries, func(a, b int) bool { return persist.ComparePaths(entries[a].Target, entries[b].Target) < 0 })
	var around []*persist.Entry // the entries that the current one lies in, outermost first
	for i, e := range entries {
		for len(around) > 0 && !persist.Below(e.Target, around[len(around)-1].Target) {
			around = around[:len(around)-1]
		}
		if i > 0 && entries[i-1].Target == e.Target {
			d.failEntry(e, "keep one of them", "%s is configured twice, first in %s", e.Target, entries[i-1].Origin)
			continue
		}
		for _, outer := range around {
			if outer.Kind == persist.File {
				d.failEntry(e, fmt.Sprintf("write %q into directories, or remove it", outer.Target), "%s is inside %s, which is configured as a file in %s", e.Target, outer.Target, outer.Origin)
				d.misfit(outer)
			} else if outer.Volume == e.Volume {
				d.failEntry(e, "remove it", "%s is inside %s (%s), which is kept as a whole", e.Target, outer.Target, outer.Origin)
				d.misfit(outer)
			}
		}
		around = append(around, e)
		d.checkVolumes(e, volumes)
	}
}

// checkVolumes finds an entry that would be put over a persistent volume, or is on one already.
func (d *decoder) checkVolumes(e *persist.Entry, volumes []persist.Volume) {
	for _, v := range volumes {
		switch {
		case persist.Within(v.Path, e.Target):
			d.failEntry(e, "list what is inside it instead, without the volume", "%s holds the persistent volume %s", e.Target, v.Path)
		case persist.Below(e.Target, v.Path):
			d.failEntry(e, "remove it", "%s is on the persistent volume %s and so is kept already", e.Target, v.Path)
		}
	}
}

// failEntry records a problem of an entry as a whole.
func (d *decoder) failEntry(e *persist.Entry, hint, format string, args ...any) {
	list := "directories"
	if e.Kind == persist.File {
		list = "files"
	}
	key := fmt.Sprintf("persistence.%q.%s", e.Volume, list)
	if e.Home != "" {
		key = fmt.Sprintf("persistence.%q.users.%s.%s", e.Volume, e.Home, list)
	}
	d.fail(position{file: e.Origin.File, line: e.Origin.Line}, key, hint, format, args...)
	d.misfit(e)
}

// misfit notes an entry that can't be beside others, when it was recorded: that one gives way.
func (d *decoder) misfit(e *persist.Entry) {
	if d.records[e.Origin.File] {
		d.misfits[e.Target] = true
	}
}
