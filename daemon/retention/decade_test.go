package retention_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/impermanence/impermanence/daemon/retention"
)

const aDay = 24 * time.Hour

// TestADecade lives through ten years with a machine, a prune after every boot: days with several boots and weeks with
// none, months in a cupboard, clocks that stand in 1970 or run in 2099, a disk that others fill. What may not happen is
// looked for after every prune.
func TestADecade(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			d := newDecade(t, seed)
			for d.truth.Before(d.end) {
				d.live()
				d.boot()
				d.prune()
			}
			if d.byRule == 0 || d.byNeed == 0 || d.wrong == 0 {
				t.Errorf("an uneventful decade: %d removed by rule, %d for space, %d boots with a wrong clock", d.byRule, d.byNeed, d.wrong)
			}
			t.Logf("%d boots (%d with a wrong clock), %d removed by the rules, %d for want of space, %d left, %d at most",
				d.boots, d.wrong, d.byRule, d.byNeed, len(d.roots), d.most)
		})
	}
}

// decade is the machine and the truth about it.
type decade struct {
	t          *testing.T
	random     *rand.Rand
	policy     retention.Policy
	truth, end time.Time
	clock      func(time.Time) time.Time // what the machine takes for the time
	faultLeft  int                       // boots until the clock is right again
	right      bool

	nextID   uint64
	since    time.Time            // when the running root was taken into use, as dated
	roots    []retention.Root     // what is on the disk
	when     map[uint64]time.Time // when they were rolled over in truth
	began    map[uint64]time.Time // and when they were taken into use
	bootedAt time.Time
	others   uint64 // what else fills the disk

	boots, wrong, byRule, byNeed, most int
}

const diskSize = 1000

func newDecade(t *testing.T, seed uint64) *decade {
	t.Helper()
	start := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	return &decade{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), truth: start, end: start.AddDate(10, 0, 0), since: start, bootedAt: start,
		policy: retention.Policy{KeepWithin: 30 * aDay, KeepLast: 3, KeepMonthly: 6, MinFree: diskSize / 10},
		clock:  func(at time.Time) time.Time { return at },
		nextID: 256, when: map[uint64]time.Time{}, began: map[uint64]time.Time{}, others: diskSize * 7 / 10,
	}
}

// live lets time pass until the next boot, and lets something go wrong now and then.
func (d *decade) live() {
	switch n := d.random.IntN(1000); {
	case n < 3:
		d.truth = d.truth.Add(time.Duration(60+d.random.IntN(340)) * aDay) // in a cupboard
	case n < 10:
		d.truth = d.truth.Add(time.Duration(5+d.random.IntN(40)) * aDay) // a long uptime
	default:
		d.truth = d.truth.Add(time.Duration(1+d.random.IntN(36)) * time.Hour)
	}
	d.others = min(diskSize-100, max(100, d.others+uint64(d.random.IntN(101))-50))
	switch n := d.random.IntN(1000); {
	case d.faultLeft > 0:
		d.faultLeft--
		return
	case n < 3:
		d.faultLeft = 1 + d.random.IntN(10)
		d.clock = func(time.Time) time.Time { return time.Unix(int64(d.random.IntN(100)), 0).UTC() }
	case n < 5:
		d.faultLeft = 1 + d.random.IntN(10)
		d.clock = func(at time.Time) time.Time { return at.AddDate(73, 0, 0) }
	default:
		d.clock = func(at time.Time) time.Time { return at }
	}
	d.right = d.faultLeft == 0
}

// boot rolls the root over.
func (d *decade) boot() {
	dated := d.clock(d.truth)
	r := retention.Root{ID: d.nextID, Time: dated, Since: d.since, Size: 1 + uint64(d.random.IntN(8))}
	if d.random.IntN(300) == 0 {
		r.Protected = []string{"pinned"}
	}
	if d.random.IntN(200) == 0 {
		r.Leftover = retention.Discarded
	}
	d.roots = append(d.roots, r)
	d.when[r.ID], d.began[r.ID] = d.truth, d.bootedAt
	d.nextID++
	d.boots++
	if !d.right {
		d.wrong++
	}
	d.since, d.bootedAt = dated, d.truth
	d.most = max(d.most, len(d.roots))
}

func (d *decade) free() uint64 {
	used := d.others
	for _, r := range d.roots {
		used += r.Size
	}
	return diskSize - min(diskSize, used)
}

// guarded are the roots with the guard that the mechanism adds: the last one made is never deleted, whatever its date.
func (d *decade) guarded() []retention.Root {
	roots := slices.Clone(d.roots)
	last := &roots[len(roots)-1]
	if last.Leftover == "" {
		last.Protected = append(slices.Clone(last.Protected), "newest")
	}
	return roots
}

// prune carries a plan out, and looks for what may not happen.
func (d *decade) prune() {
	last := d.roots[len(d.roots)-1].ID
	plan := retention.Plan(d.guarded(), d.policy, d.clock(d.truth), d.free())
	for _, r := range retention.Removals(plan) {
		if r.Need && d.free() >= d.policy.MinFree {
			d.t.Fatalf("%s: %d is removed for space that is there", d.truth, r.Root.ID)
		}
		d.check(r, last)
		d.roots = slices.DeleteFunc(d.roots, func(k retention.Root) bool { return k.ID == r.Root.ID })
		if r.Need {
			d.byNeed++
		} else {
			d.byRule++
		}
	}
	if d.free() < d.policy.MinFree {
		d.checkNothingLeft(plan)
	}
	// A month of boots, months, a few pins, and what a wrong clock dated: it must not pile up.
	if limit := 31*24 + 6 + 3 + d.boots/50 + 2*d.wrong; len(d.roots) > limit {
		d.t.Fatalf("%s: %d roots are left", d.truth, len(d.roots))
	}
}

// check looks at one removal.
func (d *decade) check(r retention.Decision, last uint64) {
	d.t.Helper()
	if len(r.Root.Protected) > 0 {
		d.t.Fatalf("%s: %d is removed, though %v", d.truth, r.Root.ID, r.Root.Protected)
	}
	if r.Root.Leftover != "" {
		return
	}
	if r.Root.ID == last {
		d.t.Fatalf("%s: the newest is removed", d.truth)
	}
	if young := d.began[last].Add(-30 * aDay); !r.Need && d.when[r.Root.ID].After(young) {
		d.t.Fatalf("%s: %d, dated %s and truly rolled over at %s, is removed within its month: %v",
			d.truth, r.Root.ID, r.Root.Time, d.when[r.Root.ID], r.Reasons)
	}
}

// checkNothingLeft makes sure that a full disk has nothing on it that could still go.
func (d *decade) checkNothingLeft(plan []retention.Decision) {
	d.t.Helper()
	for _, k := range plan {
		spared := slices.ContainsFunc(k.Reasons, func(reason string) bool {
			return reason == "last" || reason == retention.ReasonFuture || reason == "pinned" || reason == "newest"
		})
		if !k.Remove && !spared {
			d.t.Fatalf("%s: the disk is full, and %d stays: %v", d.truth, k.Root.ID, k.Reasons)
		}
	}
}
