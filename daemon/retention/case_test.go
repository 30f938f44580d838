package retention_test

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/impermanence/impermanence/daemon/retention"
)

// A case is written for people: a policy of `key value` lines, and one root a line as
//
//	2026-11-23T07:54:00Z 300 since 2026-11-22T07:50:00Z, protected pinned, leftover discarded, label works, size 12
//
// time and subvolume id first, then what is to be said about it.

func parsePolicy(t *testing.T, text string) retention.Policy {
	t.Helper()
	var p retention.Policy
	counts := map[string]*int{
		"keepLast": &p.KeepLast, "keepHourly": &p.KeepHourly, "keepDaily": &p.KeepDaily,
		"keepWeekly": &p.KeepWeekly, "keepMonthly": &p.KeepMonthly, "keepYearly": &p.KeepYearly,
	}
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' }) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch count, ok := counts[key]; {
		case ok:
			*count = int(parseNumber(t, value))
		case key == "keepWithin":
			p.KeepWithin = parseDays(t, value)
		case key == "keepLabel":
			p.KeepLabels = append(p.KeepLabels, value)
		case key == "minFree":
			p.MinFree = uint64(parseNumber(t, value))
		case key != "":
			t.Fatalf("policy: unknown key %q", key)
		}
	}
	return p
}

func parseRoots(t *testing.T, text string) []retention.Root {
	t.Helper()
	var roots []retention.Root
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		said := strings.Split(lines.Text(), ", ")
		head := strings.Fields(said[0])
		r := retention.Root{Time: parseTime(t, head[0]), ID: uint64(len(roots))}
		if len(head) > 1 {
			r.ID = uint64(parseNumber(t, head[1]))
		}
		if len(head) > 2 {
			said = slices.Insert(said, 1, strings.Join(head[2:], " "))
		}
		for _, s := range said[1:] {
			describe(t, &r, s)
		}
		roots = append(roots, r)
	}
	return roots
}

func describe(t *testing.T, r *retention.Root, said string) {
	t.Helper()
	key, value, _ := strings.Cut(said, " ")
	switch key {
	case "since":
		r.Since = parseTime(t, value)
	case "protected":
		r.Protected = append(r.Protected, value)
	case "leftover":
		r.Leftover = retention.Leftover(value)
	case "label":
		r.Label = value
	case "size":
		r.Size = uint64(parseNumber(t, value))
	default:
		t.Fatalf("root: unknown word %q", said)
	}
}

func parseTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func parseNumber(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// parseDays reads "13d23h".
func parseDays(t *testing.T, s string) time.Duration {
	t.Helper()
	days, hours, ok := strings.Cut(s, "d")
	if !ok {
		days, hours = "0", s
	}
	d := time.Duration(parseNumber(t, days)) * 24 * time.Hour
	if hours != "" {
		h, err := time.ParseDuration(hours)
		if err != nil {
			t.Fatal(err)
		}
		d += h
	}
	return d
}

// format writes a plan, newest first, and below it the order of deletion.
func format(plan []retention.Decision) string {
	var b strings.Builder
	for i := len(plan) - 1; i >= 0; i-- {
		d, verb := plan[i], "keep  "
		if d.Remove {
			verb = "remove"
		}
		fmt.Fprintf(&b, "%s %s %d: %s\n", verb, d.Root.Time.UTC().Format(time.RFC3339), d.Root.ID, strings.Join(d.Reasons, ", "))
	}
	var order []string
	for _, d := range retention.Removals(plan) {
		order = append(order, strconv.FormatUint(d.Root.ID, 10))
	}
	if len(order) > 0 {
		fmt.Fprintf(&b, "deleted in this order: %s\n", strings.Join(order, " "))
	}
	return b.String()
}
