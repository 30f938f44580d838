package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/impermanence/impermanence/dbus"
)

// progress shows on a terminal how far a job is, in one line that is drawn again and again. Elsewhere it shows nothing.
type progress struct {
	out     output
	now     func() time.Time
	started time.Time
	drawn   bool
}

// patience is how long a job runs before its progress is shown: most end before anyone has read it.
const patience = 500 * time.Millisecond

func newProgress(out output, now func() time.Time) *progress {
	return &progress{out: out, now: now, started: now()}
}

// update draws the line for the job as it is now.
func (p *progress) update(job dbus.Job) {
	elapsed := p.now().Sub(p.started)
	if !p.out.control || elapsed < patience {
		return
	}
	fmt.Fprintf(p.out.w, "\r%s\x1b[K", p.out.progressLine(job, elapsed))
	p.drawn = true
}

// clear wipes the line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out.w, "\r\x1b[K")
		p.drawn = false
	}
}

// progressLine says how far a job is after the time that it took so far: what it does, a bar, items, rate and the time
// that remains, as far as they are known and the width suffices.
func (o output) progressLine(job dbus.Job, elapsed time.Duration) string {
	parts := []string{job.Operation}
	if job.ProgressValid {
		parts = append(parts, bar(job.Progress, o.width/4), fmt.Sprintf("%3.0f%%", job.Progress*100))
	}
	if job.ItemsTotal > 0 {
		parts = append(parts, fmt.Sprintf("%d/%d", job.ItemsDone, job.ItemsTotal))
	}
	if job.ItemsDone > 0 {
		parts = append(parts, rate(float64(job.ItemsDone)/elapsed.Seconds()))
	}
	if job.ProgressValid && job.Progress > 0 && job.Progress < 1 {
		left := time.Duration(float64(elapsed) * (1 - job.Progress) / job.Progress)
		parts = append(parts, span(max(left.Round(time.Second), time.Second))+" left")
	}
	if job.Stage != "" {
		parts = append(parts, o.text(job.Stage))
	}
	return displaywidth.TruncateString(strings.Join(parts, gap), max(o.width-1, 1), o.ellipsis())
}

// rate says how many items are done in a second, with a decimal while there are few.
func rate(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	return fmt.Sprintf("%.0f/s", perSecond)
}

// bar draws done, from 0 to 1, in so many columns.
func bar(done float64, columns int) string {
	columns = max(columns-2, 1)
	filled := min(columns, max(0, int(done*float64(columns))))
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", columns-filled) + "]"
}
