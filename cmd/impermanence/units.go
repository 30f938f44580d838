package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// size returns a number of bytes as people say it, in the binary units that btrfs prints.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

// span returns a length of time as people say it, in its one largest unit; never negative.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d.Microseconds())/1e3)
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	case d < time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < day:
		return count(int(d/time.Hour), "hour")
	default:
		return count(int(d/day), "day")
	}
}

// ago returns how long before now t was.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return ""
	case d < 0:
		return "in the future"
	case d < 5*time.Second:
		return "just now"
	default:
		return span(d.Truncate(time.Second)) + " ago"
	}
}

// age is ago in as few columns as a table has for it.
func age(t, now time.Time) string {
	const day = 24 * time.Hour
	switch d := now.Sub(t); {
	case t.IsZero():
		return ""
	case d < 0:
		return "future"
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < day:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d d", d/day)
	}
}

// count returns "1 root", "2 roots".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok {
		noun = stem + "rie"
	}
	if strings.HasSuffix(noun, "s") {
		noun += "e"
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// moment returns a time as a table shows it: in the local zone on a terminal, else in RFC 3339 and UTC; "" for none.
func (o output) moment(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case o.terminal:
		return t.Local().Format("2006-01-02 15:04")
	default:
		return t.UTC().Format(time.RFC3339)
	}
}

// when returns a time for people: on a terminal with how long ago it was.
func (o output) when(t, now time.Time) string {
	if !o.terminal {
		return o.moment(t)
	}
	return o.moment(t) + " (" + ago(t, now) + ")"
}
