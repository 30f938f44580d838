package retention_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/impermanence/impermanence/daemon/retention"
)

var epoch = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// genRoots draws roots within a few years of epoch, some dated in the future, some protected, some leftovers.
func genRoots(t *rapid.T) []retention.Root {
	return genRootsOf(t, rapid.OneOf(rapid.IntRange(-100, 100), rapid.IntRange(-40_000, 100)))
}

func genRootsOf(t *rapid.T, hours *rapid.Generator[int]) []retention.Root {
	list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) retention.Root {
		at := epoch.Add(time.Duration(hours.Draw(t, "hours")) * time.Hour)
		r := retention.Root{Time: at, Size: rapid.Uint64Range(0, 3).Draw(t, "size")}
		if used := rapid.IntRange(0, 2000).Draw(t, "used"); used > 0 {
			r.Since = at.Add(-time.Duration(used) * time.Hour)
		}
		switch rapid.IntRange(0, 15).Draw(t, "special") {
		case 0:
			r.Protected = []string{"pinned"}
		case 1:
			r.Leftover = retention.Discarded
		case 2, 3:
			r.Label = "works"
		}
		return r
	}), 0, 40).Draw(t, "roots")
	for i := range list {
		list[i].ID = uint64(256 + i)
	}
	return list
}

func genPolicy(t *rapid.T) retention.Policy {
	count := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 7, -1})
	return retention.Policy{
		KeepWithin:  time.Duration(rapid.SampledFrom([]int{0, 0, 1, 36, 720}).Draw(t, "within")) * time.Hour,
		KeepLast:    count.Draw(t, "last"),
		KeepHourly:  count.Draw(t, "hourly"),
		KeepDaily:   count.Draw(t, "daily"),
		KeepWeekly:  count.Draw(t, "weekly"),
		KeepMonthly: count.Draw(t, "monthly"),
		KeepYearly:  count.Draw(t, "yearly"),
		KeepLabels:  rapid.SampledFrom([][]string{nil, nil, nil, {"works"}, {"other", "works"}}).Draw(t, "labels"),
		MinFree:     rapid.SampledFrom([]uint64{0, 0, 5, 20}).Draw(t, "minFree"),
	}
}

func removed(plan []retention.Decision) map[uint64]retention.Decision {
	set := map[uint64]retention.Decision{}
	for _, d := range plan {
		if d.Remove {
			set[d.Root.ID] = d
		}
	}
	return set
}

// TestNeverRemovesWhatMustStay: not what is protected, not the newest, not the future; and every decision has a reason. Labels
// alone say nothing of the newest, here as with restic: it is btrfsops that protects it then.
func TestNeverRemovesWhatMustStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy(t)
		plan := retention.Plan(genRoots(t), policy, epoch, 0)
		var newest *retention.Decision
		for i, d := range plan {
			future := d.Root.Time.After(epoch.Add(retention.FutureTolerance))
			if d.Remove && len(d.Root.Protected) > 0 {
				t.Errorf("removes the protected %d", d.Root.ID)
			}
			if d.Remove && future && d.Root.Leftover == "" {
				t.Errorf("removes %d, dated in the future", d.Root.ID)
			}
			if len(d.Reasons) == 0 {
				t.Errorf("no reason for %d", d.Root.ID)
			}
			if d.Root.Leftover == "" && !future {
				newest = &plan[i]
			}
		}
		policy.MinFree = 0
		onlyLabels := cmp.Equal(policy, retention.Policy{KeepLabels: policy.KeepLabels})
		if newest != nil && newest.Remove && !onlyLabels {
			t.Errorf("removes the newest, %d", newest.Root.ID)
		}
	})
}

// TestRemovesNoMoreThanAsked holds plans against the meaning of each rule, written a second time and slowly.
func TestRemovesNoMoreThanAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		p.MinFree = 0
		plan := retention.Plan(genRoots(t), p, epoch, 0)
		var judged []retention.Root
		for _, d := range plan {
			if d.Root.Leftover == "" && !d.Root.Time.After(epoch.Add(retention.FutureTolerance)) {
				judged = append(judged, d.Root)
			}
		}
		for _, d := range plan {
			if i := slices.IndexFunc(judged, func(r retention.Root) bool { return r.ID == d.Root.ID }); i >= 0 {
				if want := wanted(judged, i, p) || len(d.Root.Protected) > 0; want == d.Remove {
					t.Errorf("%d: remove %v, but a rule wants it: %v", d.Root.ID, d.Remove, want)
				}
			}
		}
	})
}

// wanted tells whether a rule of p keeps list[i]; list is ordered oldest first.
func wanted(list []retention.Root, i int, p retention.Policy) bool {
	switch {
	case cmp.Equal(p, retention.Policy{}):
		return true
	case list[i].Label != "" && slices.Contains(p.KeepLabels, list[i].Label):
		return true
	case p.KeepLast < 0 || len(list)-i <= p.KeepLast:
		return true
	}
	if p.KeepWithin > 0 {
		newest := list[len(list)-1]
		end := newest.Time
		if !newest.Since.IsZero() {
			end = newest.Since
			if len(list) > 1 && list[len(list)-2].Time.After(end) {
				end = list[len(list)-2].Time
			}
		}
		if end.Sub(list[i].Time) < p.KeepWithin {
			return true
		}
	}
	return wantedInPeriod(list, i, p)
}

func wantedInPeriod(list []retention.Root, i int, p retention.Policy) bool {
	week := func(t time.Time) string {
		for t.Weekday() != time.Monday {
			t = t.AddDate(0, 0, -1)
		}
		return t.Format("20060102")
	}
	layout := func(l string) func(time.Time) string { return func(t time.Time) string { return t.Format(l) } }
	for _, rule := range []struct {
		count  int
		period func(time.Time) string
	}{
		{p.KeepHourly, layout("2006010215")},
		{p.KeepDaily, layout("20060102")},
		{p.KeepWeekly, week},
		{p.KeepMonthly, layout("200601")},
		{p.KeepYearly, layout("2006")},
	} {
		if rule.count == 0 {
			continue
		}
		newer := map[string]bool{} // periods of the roots after i
		for _, r := range list[i+1:] {
			newer[rule.period(r.Time)] = true
		}
		first := !newer[rule.period(list[i].Time)]
		left := rule.count < 0 || len(newer) < rule.count
		if left && (first || i == 0) {
			return true
		}
	}
	return false
}

// TestOrderDoesNotMatter: any permutation of the roots gives the same plan.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roots, p := genRoots(t), genPolicy(t)
		want := retention.Plan(roots, p, epoch, 0)
		seed := rapid.Uint64().Draw(t, "seed")
		shuffled := slices.Clone(roots)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(roots), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		before := slices.Clone(shuffled)
		if diff := cmp.Diff(want, retention.Plan(shuffled, p, epoch, 0)); diff != "" {
			t.Errorf("another order, another plan:\n%s", diff)
		}
		if diff := cmp.Diff(before, shuffled); diff != "" {
			t.Errorf("Plan changed its input:\n%s", diff)
		}
	})
}

// TestAddingARootRemovesNoOtherWithoutCause: one root more takes the place of at most one root in each counting rule that
// keeps it, and moves the window of keepWithin only when it is newer than the two that set it.
func TestAddingARootRemovesNoOtherWithoutCause(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roots, p := genRoots(t), genPolicy(t)
		p.MinFree = 0
		if len(roots) == 0 {
			return
		}
		before := removed(retention.Plan(roots[1:], p, epoch, 0))
		after := retention.Plan(roots, p, epoch, 0)
		var added retention.Decision
		for _, d := range after {
			if d.Root.ID == roots[0].ID {
				added = d
			}
		}
		displaced := 0
		for id := range removed(after) {
			if _, ok := before[id]; !ok && id != roots[0].ID {
				displaced++
			}
		}
		counting := 0
		for _, reason := range added.Reasons {
			if reason != "pinned" && !strings.HasPrefix(reason, "within") {
				counting++
			}
		}
		if displaced > counting && !setsTheWindow(after, roots[0].ID) {
			t.Errorf("adding %d (%v) removes %d others", roots[0].ID, added.Reasons, displaced)
		}
	})
}

// setsTheWindow tells whether id is one of the two newest that the rules look at.
func setsTheWindow(plan []retention.Decision, id uint64) bool {
	seen := 0
	for i := len(plan) - 1; i >= 0 && seen < 2; i-- {
		r := plan[i].Root
		if r.Leftover != "" || r.Time.After(epoch.Add(retention.FutureTolerance)) {
			continue
		}
		if r.ID == id {
			return true
		}
		seen++
	}
	return false
}

// TestPruningTwiceIsPruningOnce: what a plan leaves is left by the next one too, but for the rules' "oldest", whose place
// another may take.
func TestPruningTwiceIsPruningOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		p.MinFree = 0
		plan := retention.Plan(genRoots(t), p, epoch, 0)
		var left []retention.Root
		for _, d := range plan {
			if !d.Remove {
				left = append(left, d.Root)
			}
		}
		for id, d := range removed(retention.Plan(left, p, epoch, 0)) {
			t.Errorf("the second plan removes %d: %v", id, d.Reasons)
		}
	})
}

// TestNeedStopsWhenThereIsRoom: no more goes for want of space than the estimate asks, oldest first.
func TestNeedStopsWhenThereIsRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		p.MinFree = rapid.Uint64Range(1, 40).Draw(t, "minFree")
		free := rapid.Uint64Range(0, 40).Draw(t, "free")
		removals := retention.Removals(retention.Plan(genRoots(t), p, epoch, free))
		for i, d := range removals {
			if d.Need && free >= p.MinFree {
				t.Errorf("removal %d of %d, %d, is not needed: %d free of %d", i, len(removals), d.Root.ID, free, p.MinFree)
			}
			free += d.Root.Size
		}
	})
}

// TestRemovalsAreInTurn: leftovers go first, then what the rules remove, then what goes for want of space; each oldest first.
func TestRemovalsAreInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		p.MinFree = rapid.Uint64Range(0, 40).Draw(t, "minFree")
		roots := genRoots(t)
		for i := range roots {
			if rapid.Bool().Draw(t, "left over") {
				roots[i].Leftover = "half deleted"
			}
		}
		turn := func(d retention.Decision) []int64 {
			switch when := d.Root.Time.Unix(); {
			case d.Root.Leftover != "":
				return []int64{0, when}
			case !d.Need:
				return []int64{1, when}
			default:
				return []int64{2, when}
			}
		}
		removals := retention.Removals(retention.Plan(roots, p, epoch, 0))
		if !slices.IsSortedFunc(removals, func(a, b retention.Decision) int { return slices.Compare(turn(a), turn(b)) }) {
			t.Errorf("out of turn: %+v", removals)
		}
	})
}

// TestLeapsSeparate: what stands on one side of a leap of the clock changes nothing on the other.
func TestLeapsSeparate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPolicy(t)
		p.MinFree = 0
		now := epoch.AddDate(73, 0, 0)
		today := genRoots(t)
		wrong := genRoots(t)
		for i := range wrong {
			wrong[i].ID += 1000
			wrong[i].Time = wrong[i].Time.AddDate(72, 0, 0)
			wrong[i].Since = time.Time{}
		}
		alone, both := removed(retention.Plan(today, p, now, 0)), removed(retention.Plan(slices.Concat(today, wrong), p, now, 0))
		for id := range both {
			if _, ok := alone[id]; id < 1000 && !ok {
				t.Errorf("a clock that leapt removes %d", id)
			}
		}
	})
}
