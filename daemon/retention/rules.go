package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// rule keeps the newest root of each of the newest left periods.
type rule struct {
	name   string
	left   int // negative: without limit
	period func(t time.Time, nr int) int
	last   int // the period of the root that was kept last
}

// rules returns the counting rules of p that are set.
func (p Policy) rules() []rule {
	all := []rule{
		{name: "last", left: p.KeepLast, period: func(_ time.Time, nr int) int { return nr }},
		{name: "hourly", left: p.KeepHourly, period: hourOf},
		{name: "daily", left: p.KeepDaily, period: dayOf},
		{name: "weekly", left: p.KeepWeekly, period: weekOf},
		{name: "monthly", left: p.KeepMonthly, period: monthOf},
		{name: "yearly", left: p.KeepYearly, period: yearOf},
	}
	set := all[:0]
	for _, r := range all {
		if r.left != 0 {
			r.last = -1
			set = append(set, r)
		}
	}
	return set
}

func hourOf(t time.Time, _ int) int  { return dayOf(t, 0)*100 + t.Hour() }
func dayOf(t time.Time, _ int) int   { return monthOf(t, 0)*100 + t.Day() }
func monthOf(t time.Time, _ int) int { return t.Year()*100 + int(t.Month()) }
func yearOf(t time.Time, _ int) int  { return t.Year() }

func weekOf(t time.Time, _ int) int {
	year, week := t.ISOWeek()
	return year*100 + week
}

// keeps tells whether the rule keeps a root of time t, the nr-th from the newest, and counts it. oldest is true for the
// last root that it is asked about.
func (r *rule) keeps(t time.Time, nr int, oldest bool) (reason string, ok bool) {
	if r.left == 0 {
		return "", false
	}
	period := r.period(t.UTC(), nr)
	switch {
	case period != r.last:
		reason = r.name
	case oldest:
		reason = "oldest " + r.name
	default:
		return "", false
	}
	r.last = period
	if r.left > 0 {
		r.left--
	}
	return reason, true
}

// judge applies the rules to roots that are ordered by age, oldest first.
func judge(side []*Decision, p Policy) {
	rules := p.rules()
	if len(rules) == 0 && p.KeepWithin <= 0 && len(p.KeepLabels) == 0 {
		for _, d := range side {
			d.Reasons = []string{ReasonNoPolicy}
		}
		return
	}
	for nr := range side {
		d := side[len(side)-1-nr]
		if p.KeepWithin > 0 && d.Root.Time.After(windowEnd(side).Add(-p.KeepWithin)) {
			d.Reasons = append(d.Reasons, "within "+FormatDuration(p.KeepWithin))
		}
		if slices.Contains(p.KeepLabels, d.Root.Label) {
			d.Reasons = append(d.Reasons, "label")
		}
		for i := range rules {
			if reason, ok := rules[i].keeps(d.Root.Time, nr, nr == len(side)-1); ok {
				d.Reasons = append(d.Reasons, reason)
			}
		}
		if len(d.Reasons) == 0 {
			d.Remove, d.Reasons = true, []string{ReasonNoRule}
		}
	}
}

// windowEnd is the time that keepWithin counts back from: when the newest root was taken into use, or the time of the
// root before it when that is later; its own time when nothing is known of its beginning. A beginning a leap after the
// end is a wrong clock's: then it is the root before it that counts.
func windowEnd(side []*Decision) time.Time {
	newest := side[len(side)-1].Root
	end := newest.Since
	switch {
	case end.IsZero():
		return newest.Time
	case end.Sub(newest.Time) > Leap:
		end = time.Time{}
	case end.After(newest.Time):
		return newest.Time
	}
	if len(side) > 1 {
		if before := side[len(side)-2].Root.Time; before.After(end) {
			end = before
		}
	}
	if end.IsZero() {
		return newest.Time
	}
	return end
}

// FormatDuration writes d in restic's units, days and hours: "30d", "1d12h". What is left below an hour is written as Go
// writes it.
func FormatDuration(d time.Duration) string {
	const hoursADay = 24
	var b strings.Builder
	hours := d / time.Hour
	if days := hours / hoursADay; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
	}
	if rest := hours % hoursADay; rest > 0 {
		fmt.Fprintf(&b, "%dh", rest)
	}
	if rest := d % time.Hour; rest > 0 || b.Len() == 0 {
		b.WriteString(rest.String())
	}
	return b.String()
}
