package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// row is one piece of work and who does it. The first contender is ours.
type row struct {
	name       string
	long       bool
	fill       func(top string) error // makes the pristine file system
	contenders []contender
}

// contender does the work of a row on a disk of its own.
type contender struct {
	name string
	// prepare brings the disk to where the work begins and returns the work. What it starts is ended by d.close.
	prepare func(ctx context.Context, d *disk) (*exec.Cmd, error)
}

// race has every contender do the row in every round, and prints what came out.
func (r row) race(ctx context.Context, out io.Writer, s *stage, rounds int) error {
	image, err := s.image(r.fill)
	if err != nil {
		return err
	}
	defer s.drop(image)
	walls := make([][]time.Duration, len(r.contenders))
	for round := range rounds {
		for i := range r.contenders {
			i = (i + round) % len(r.contenders)
			wall, err := s.once(ctx, image, r.contenders[i])
			if err != nil {
				return fmt.Errorf("%s: %w", r.contenders[i].name, err)
			}
			walls[i] = append(walls[i], wall)
		}
	}
	r.print(out, walls)
	return nil
}

// once measures one contender from the start of its process to its end.
func (s *stage) once(ctx context.Context, image string, c contender) (wall time.Duration, err error) {
	d, err := s.copyOf(image)
	if err != nil {
		return 0, err
	}
	defer d.close()
	cmd, err := c.prepare(ctx, d)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	wall = time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	return wall, nil
}

// print writes a line for each contender: its time, and how many times ours it takes, round by round.
func (r row) print(out io.Writer, walls [][]time.Duration) {
	_, _ = fmt.Fprintf(out, "\n%s\n", r.name)
	for i, c := range r.contenders {
		times := make([]float64, len(walls[i]))
		ratios := make([]float64, len(walls[i]))
		for n, wall := range walls[i] {
			times[n] = float64(wall.Microseconds()) / 1000
			ratios[n] = float64(wall) / float64(walls[0][n])
		}
		t, q := spreadOf(times), spreadOf(ratios)
		_, _ = fmt.Fprintf(out, "  %-34s %10.1f ms (%.1f–%.1f)", c.name, t.median, t.least, t.greatest)
		if i > 0 {
			_, _ = fmt.Fprintf(out, "   %8.2f × ours (%.2f–%.2f)", q.median, q.least, q.greatest)
		}
		_, _ = fmt.Fprintln(out)
	}
}

// spread is what is told of a list of measurements.
type spread struct{ least, median, greatest float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]}
}
