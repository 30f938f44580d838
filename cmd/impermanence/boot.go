package main

import (
	"path"
	"strings"
	"time"
)

// boot is what early boot did with the root.
type boot struct {
	Outcome  string // "fresh", "restored", "kept", "skipped", "failed"; "" when nothing is known of this boot
	Reason   string
	Error    string
	OldRoot  string // name of the old root that the former root became
	Source   string // what the root is a copy of, relative to the top level; "" when it began empty
	When     time.Time
	Duration time.Duration
	Failures []string // of other mount points than that of the root, each with its mount point
}

// newBoot reads the property LastRollover.
func newBoot(details map[string]any) boot {
	text := func(key string) string { s, _ := details[key].(string); return s }
	number := func(key string) uint64 { n, _ := details[key].(uint64); return n }
	b := boot{
		Outcome:  text("outcome"),
		Reason:   text("reason"),
		Error:    text("error"),
		OldRoot:  text("oldRoot"),
		Source:   text("source"),
		Duration: time.Duration(number("durationUSec")) * time.Microsecond,
	}
	if b.OldRoot != "" {
		b.OldRoot = path.Base(b.OldRoot)
	}
	failures, _ := details["failures"].([]string)
	for _, f := range failures {
		if !strings.HasPrefix(f, text("mountPoint")+": ") {
			b.Failures = append(b.Failures, f)
		}
	}
	if usec := number("rolledOverUSec"); usec > 0 {
		b.When = time.UnixMicro(int64(usec))
	}
	return b
}

// headline says in a few words what became of the root at this boot.
func (b boot) headline() (string, style) {
	switch b.Outcome {
	case "fresh":
		return "fresh root, " + b.origin(), green
	case "restored":
		return "restored root, " + b.origin(), green
	case "kept":
		return "root kept" + because(b.Reason), yellow
	case "skipped":
		return "rollover skipped" + because(b.Reason), yellow
	case "failed":
		return "former root: the rollover failed", red
	default:
		return "not known: the rollover did not run", red
	}
}

// origin says what the root began as.
func (b boot) origin() string {
	if b.Source == "" {
		return "began empty"
	}
	return "a copy of " + path.Base(b.Source)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// lines say what became of the root, when the rollover was, how long it took and where the former root is.
func (b boot) lines(o output, now time.Time) []cell {
	headline, look := b.headline()
	lines := []cell{{headline, look}}
	if !b.When.IsZero() {
		line := "rolled over " + o.when(b.When, now)
		if b.Duration > 0 {
			line += ", in " + span(b.Duration)
		}
		lines = append(lines, cell{text: line})
	}
	if b.OldRoot != "" {
		lines = append(lines, cell{text: "the former root is " + b.OldRoot})
	}
	return lines
}
