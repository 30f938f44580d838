package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// putBack copies what is kept into the root. In a root that was not booted since, nothing was taken out of it, but for what is
// mounted over its places now, or linked to: what else is on the volume is as old as the set-up.
func (w *worker) putBack(ctx context.Context) error {
	switch {
	case w.facts.booted():
		return w.inView(ctx, w.facts.RootID, w.record.Volume, func(_ string, opts persist.Options, entries []persist.Entry) error {
			if w.facts.volumeMounted() {
				opts = w.facts.Config.In(w.Root) // whose entries are in place: nothing can take a place that is mounted on, in whatever view
			}
			return w.forget(ctx, opts, entries)
		})
	case w.facts.volumeMounted():
		c := *w.facts.Config
		if err := config.AddRecorded(w.Root, &c); err != nil {
			return err
		}
		return w.forget(ctx, c.In(w.Root), c.Entries())
	}
	return nil
}

// forget puts back what is kept, when nothing is known to be in the way. What is written to it from then on is in the root alone, and a rollover
// would take it away: should the undoing not come to its end, the next boot keeps the root.
func (w *worker) forget(ctx context.Context, opts persist.Options, entries []persist.Entry) error {
	sorted := slices.DeleteFunc(slices.Clone(entries), func(e persist.Entry) bool { return e.Volume != w.record.Point })
	slices.SortFunc(sorted, func(a, b persist.Entry) int { return persist.ComparePaths(a.Target, b.Target) })
	err := w.each(sorted, func(e persist.Entry) error {
		if _, err := persist.PlanForget(ctx, opts, e); err != nil {
			return fmt.Errorf("nothing was changed: forget %s: %w", e.Target, err)
		}
		return nil
	})
	if err == nil {
		err = w.keepNext()
	}
	if err != nil {
		return err
	}
	err = w.each(sorted, func(e persist.Entry) error {
		done, err := forgetWritten(ctx, opts, e)
		if _, aside, kept := strings.Cut(done, " kept as "); kept {
			w.tell("%s: what the root had there, and is not on the volume, is kept as %s", e.Target, aside)
		}
		if errors.Is(err, persist.ErrConflict) && !w.isBack(e) && !w.facts.booted() {
			w.tell("%s of the root stays: what is on the volume is another", e.Target)
		}
		if err != nil || w.isBack(e) {
			return err
		}
		w.record.PutBack = append(w.record.PutBack, e.Target)
		return w.record.write(w.Root)
	})
	if err != nil {
		w.tell("not all is in the root yet, and what is there is written to: the next boot keeps the root, once; undo the set-up again before the one after that")
	}
	return err
}

// each does something with entries, and goes on after a failure. It is none that what is on the volume is another than what is in the root: where
// it was put back before the undoing was interrupted, people have gone on with it, and in a root that was not booted since it is as old as the set-up.
func (w *worker) each(entries []persist.Entry, do func(persist.Entry) error) error {
	var failed []error
	for _, e := range entries {
		err := do(e)
		if errors.Is(err, persist.ErrConflict) && (w.isBack(e) || !w.facts.booted()) {
			continue
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// isBack tells whether an undoing that was interrupted has put an entry back.
func (w *worker) isBack(e persist.Entry) bool { return slices.Contains(w.record.PutBack, e.Target) }

// keepNext has the next boot keep the root, unless no boot rolls it over.
func (w *worker) keepNext() error {
	err := w.top.SetNextBoot(w.record.Layout, btrfsops.NextKeep)
	if errors.Is(err, btrfsops.ErrNoRoot) {
		return nil
	}
	return err
}

// forgetNext takes that back.
func (w *worker) forgetNext() error {
	next, err := w.top.NextBoot(w.record.Layout)
	if err == nil && next == btrfsops.NextKeep {
		err = w.top.ForgetNextBoot(w.record.Layout)
	}
	return err
}

// removeTemplate ends the rollovers.
func (w *worker) removeTemplate(ctx context.Context) error {
	if err := w.top.RemoveTemplate(ctx, w.record.Layout); err != nil {
		return err
	}
	return w.forgetNext()
}

// forgetWritten copies what is kept into the root again while somebody writes to it, as the journal is written to at any time: what is
// written between the copy and the look whether it is all fails once, but hardly each time.
func forgetWritten(ctx context.Context, opts persist.Options, e persist.Entry) (done string, err error) {
	const tries = 5
	for try := 1; ; try++ {
		result, err := persist.Forget(ctx, opts, e)
		if !errors.Is(err, persist.ErrBusy) || try == tries {
			return result.Actions, err
		}
	}
}
