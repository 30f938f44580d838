package retention

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

const (
	// FutureTolerance is how far ahead of now a root may be dated and still count as dated today. A firmware clock that
	// holds local time is read as UTC in the initrd, and is then up to 14 hours ahead.
	FutureTolerance = 24 * time.Hour
	// Leap is the time between two successive roots that only a wrong clock explains.
	Leap = 10 * 365 * 24 * time.Hour
)

// Leftover says that a subvolume among the old roots never was a root, or is one no longer.
type Leftover string

// The kinds of leftovers. They are removed before anything else.
const (
	Discarded     Leftover = "discarded"      // staged for a rollover, never became the root
	PartlyDeleted Leftover = "partly deleted" // its deletion was begun and not finished
)

// Root is what a decision needs to know of an old root or a snapshot.
type Root struct {
	ID        uint64
	Name      string
	Label     string    // the user's; empty for none
	Time      time.Time // when it stopped being the root; a snapshot: when it was taken
	Since     time.Time // when it became the root; zero when that is not known
	Leftover  Leftover  // empty for a whole root
	Protected []string  // why it may not be removed; empty when it may
	Size      uint64    // bytes that its removal would free, an estimate; 0 when not known
	Unsized   bool      // its size is not known yet: more may be planned for want of space than has to go
}

// Policy says what is kept. The zero Policy keeps everything. A negative count keeps all that the rule can match.
type Policy struct {
	KeepWithin  time.Duration
	KeepLast    int
	KeepHourly  int
	KeepDaily   int
	KeepWeekly  int
	KeepMonthly int
	KeepYearly  int
	KeepLabels  []string
	MinFree     uint64 // bytes; 0 for no limit
}

// Decision is what becomes of one root, and why.
type Decision struct {
	Root   Root
	Remove bool
	// Need is true for a root that the rules keep and the want of free space removes. Sizes are estimates: who carries
	// the plan out stops as soon as there is room.
	Need    bool
	Reasons []string // never empty
}

// Reasons of decisions that no rule of the policy gives.
const (
	ReasonNoPolicy = "no policy"
	ReasonFuture   = "dated in the future"
	ReasonNoRule   = "kept by no rule"
	ReasonNeed     = "free space below minFree"
	ReasonUnsized  = "size not known yet"
)

// Plan decides for each root whether it is kept, and returns the decisions oldest first (see [Removals] for the order of
// deletion). now is the time to judge dates by, free the free space of the file system in bytes. The order of roots does
// not matter, and roots is not changed.
func Plan(roots []Root, policy Policy, now time.Time, free uint64) []Decision {
	decisions := make([]Decision, len(roots))
	for i, r := range roots {
		decisions[i].Root = r
	}
	// As wherever values are large: slices.SortFunc is compiled anew for each type, 20 kB each of what the daemon has in memory.
	sort.Slice(decisions, func(i, j int) bool { return older(decisions[i].Root, decisions[j].Root) < 0 })

	var judged []*Decision
	for i := range decisions {
		switch d := &decisions[i]; {
		case d.Root.Leftover != "":
			d.Remove, d.Reasons = true, []string{string(d.Root.Leftover)}
		case d.Root.Time.After(now.Add(FutureTolerance)):
			d.Reasons = []string{ReasonFuture}
		default:
			judged = append(judged, d)
		}
	}
	for _, side := range splitAtLeaps(judged) {
		judge(side, policy)
	}
	protect(decisions)
	need(decisions, judged, policy, free)
	return decisions
}

// Removals returns the roots that decisions remove, in the order to delete them in: leftovers, what the rules remove,
// what is removed for want of space; each oldest first.
func Removals(decisions []Decision) []Decision {
	var removals []Decision
	for turn := range turns {
		for _, d := range decisions {
			if d.Remove && d.turn() == turn {
				removals = append(removals, d)
			}
		}
	}
	return removals
}

// turns is how many there are.
const turns = 3

// turn is the place of a removal in the order of deletion, from 0.
func (d Decision) turn() int {
	switch {
	case d.Root.Leftover != "":
		return 0
	case !d.Need:
		return 1
	default:
		return 2
	}
}

// older compares roots by age, then by id (ids only grow).
func older(a, b Root) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name))
}

// splitAtLeaps cuts a list that is ordered by age where a clock leapt.
func splitAtLeaps(list []*Decision) [][]*Decision {
	var sides [][]*Decision
	start := 0
	for i := range list {
		if i > 0 && list[i].Root.Time.Sub(list[i-1].Root.Time) > Leap {
			sides = append(sides, list[start:i])
			start = i
		}
	}
	return append(sides, list[start:])
}

// protect keeps what may not be removed, and puts that reason first.
func protect(decisions []Decision) {
	for i := range decisions {
		d := &decisions[i]
		if len(d.Root.Protected) == 0 {
			continue
		}
		var kept []string
		if !d.Remove {
			kept = d.Reasons
		}
		d.Remove, d.Reasons = false, slices.Concat(d.Root.Protected, kept)
	}
}

// need removes the oldest of what only the rules keep until the free space reaches policy.MinFree. judged is ordered by
// age and points into decisions.
func need(decisions []Decision, judged []*Decision, policy Policy, free uint64) {
	for _, d := range decisions {
		if d.Remove {
			free += d.Root.Size
		}
	}
	if len(judged) == 0 {
		return
	}
	spared := lastOf(judged, policy.KeepLast)
	for _, d := range judged {
		if free >= policy.MinFree {
			return
		}
		if d.Remove || len(d.Root.Protected) > 0 || spared[d] {
			continue
		}
		d.Remove, d.Need, d.Reasons = true, true, []string{ReasonNeed}
		if d.Root.Unsized {
			d.Reasons = append(d.Reasons, ReasonUnsized)
		}
		free += d.Root.Size
	}
}

// lastOf returns what keepLast keeps on each side of a leap, and at least the newest.
func lastOf(judged []*Decision, keepLast int) map[*Decision]bool {
	spared := map[*Decision]bool{judged[len(judged)-1]: true}
	for _, side := range splitAtLeaps(judged) {
		first := len(side) - keepLast
		if keepLast < 0 {
			first = 0
		}
		for _, d := range side[max(first, 0):] {
			spared[d] = true
		}
	}
	return spared
}
