package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// The states of an entry that is as it should be, and of one that will be after a boot.
const (
	inPlace       = "in-place"
	nextBootState = "next-boot"
)

// persistCommand puts entries in their place, and begins to keep what is none yet.
func (a *app) persistCommand() *cobra.Command {
	var k keepFlags
	cmd := &cobra.Command{
		Use:        "persist [PATH...]",
		SuggestFor: []string{"apply", "mount", "keep", "add", "adopt"},
		Short:      "Keep directories and files, and put entries in their place",
		Long: `Keep what is at PATH from now on: it is copied to the persistent volume,
verified, put in its place, and recorded on the volume. A file that a program
has open for writing, or a directory that it works in, is named and nothing is
done; with --next-boot the next boot takes it from the root that runs now.

A PATH that is an entry already, and all entries when no PATH is given, are put
in their place as a boot does, and listed; --next-boot leaves that to the next
boot. What stands in a place and not yet on the persistent volume is copied
there first. Where both hold something and differ, that is reported, and what is
kept is what counts.`,
		Example: `  impermanence persist
  impermanence persist --dry-run /var/lib/docker
  impermanence persist /etc/app.conf /srv`,
		ValidArgsFunction: a.completePersist,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := k.read(cmd, len(args)); err != nil {
				return err
			}
			return a.persist(cmd.Context(), args, &k)
		},
	}
	k.addWhen(cmd, "keep it at once (default)", "record it; the next boot takes it from the root that runs now", "print what would be done, and why; do nothing")
	k.addEntry(a, cmd)
	a.jsonFlag(cmd)
	return cmd
}

// persist puts the entries with these targets in place, all when there is none, and begins to keep those that are none.
func (a *app) persist(ctx context.Context, paths []string, k *keepFlags) error {
	targets, err := absolute(paths)
	if err != nil {
		return err
	}
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	entries, err := client.Entries(ctx)
	if err != nil {
		return err
	}
	known, fresh, err := divide(targets, entries)
	if err != nil {
		return err
	}
	if shape := slices.IndexFunc(k.given, shapes); shape >= 0 && len(known) > 0 {
		err := fmt.Errorf("persist %q: %w: it is an entry already, which %s does not change", known[0], dbus.ErrInvalidArgs, k.given[shape])
		return &advised{err, "impermanence persist " + quote(known[0])}
	}
	p := persisting{all: a.changeAll(ctx, dbus.AddEntry, fresh, k), wanted: len(targets)}
	if !k.dryRun && !k.nextBoot && (len(known) > 0 || len(targets) == 0) {
		p.applied, p.refused = a.apply(ctx, known, len(fresh) == 0)
	}
	if p.refused != nil && len(fresh) == 0 {
		return p.refused
	}
	return a.persisted(ctx, p, targets, k.dryRun)
}

// apply puts the entries with these targets in place, all when there is none, and returns the job that did. After something
// else an interrupt comes before it.
func (a *app) apply(ctx context.Context, targets []string, first bool) (*dbus.Job, error) {
	if !first && ctx.Err() != nil {
		return nil, fmt.Errorf("persist %s: %w", strings.Join(targets, ", "), errBefore)
	}
	id, err := a.client.ApplyPersistence(ctx, targets)
	if err != nil {
		return nil, err
	}
	job, err := a.await(ctx, id)
	if err != nil {
		return nil, err
	}
	return &job, nil
}

// persisting is what persist did.
type persisting struct {
	all     []changed
	applied *dbus.Job // that put entries in place; nil when none was asked for, or it was refused
	refused error     // why there is none
	wanted  int
}

// divide tells entries from what is none yet. A path inside an entry is an error that says what keeps it.
func divide(targets []string, entries []dbus.Entry) (known, fresh []string, err error) {
	for _, target := range targets {
		if slices.ContainsFunc(entries, func(e dbus.Entry) bool { return e.Target == target }) {
			known = append(known, target)
			continue
		}
		for _, e := range entries {
			if strings.HasPrefix(target, e.Target+"/") {
				err := fmt.Errorf("persist %q: %w: it is kept already as a part of %q", target, dbus.ErrInvalidArgs, e.Target)
				return nil, nil, &advised{err, "impermanence persist " + quote(e.Target)}
			}
		}
		fresh = append(fresh, target)
	}
	return known, fresh, nil
}

// persisted prints what was done, and how the entries are after it.
func (a *app) persisted(ctx context.Context, p persisting, targets []string, dryRun bool) error {
	entries, err := a.client.Entries(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if len(targets) > 0 {
		entries = slices.DeleteFunc(entries, func(e dbus.Entry) bool { return !slices.Contains(targets, e.Target) })
	}
	switch {
	case a.json:
		if err := a.stdout.document(newPersistDocument(p, entries)); err != nil {
			return err
		}
	case dryRun:
		a.printChanges(p.all, "")
		a.stdout.entries(entries)
	default:
		if len(entries) == 0 && p.wanted == 0 {
			a.notice("no entries are configured")
		}
		a.stdout.entries(entries)
	}
	return p.explain()
}

// explain returns the error that persist ends with. What was kept first stays kept, whatever became of the entries.
func (p *persisting) explain() error {
	kept := explainChanges(p.all, p.wanted, tryPersist)
	placed := p.refused
	if p.applied != nil {
		placed = outcome(*p.applied)
	}
	if kept == nil && placed != nil && len(p.all) > 0 {
		placed = fmt.Errorf("%w: %w", errPartly, placed)
	}
	return both(kept, placed)
}

// tryPersist is what to type after a path could not be kept.
func tryPersist(c changed, err error) string {
	target := quote(c.target)
	switch {
	case c.writers():
		return "impermanence persist --next-boot " + target
	case isRefusal(err, dbus.ErrSourceMissing) && c.err == nil:
		return "impermanence persist --kind directory " + target
	case isRefusal(err, dbus.ErrTargetConflict):
		return "impermanence orphans"
	case isRefusal(err, dbus.ErrNotSupported) && c.job.Details["nextBoot"] == true:
		return "impermanence persist " + target
	}
	return ""
}

// entries prints the table of entries.
func (o output) entries(entries []dbus.Entry) {
	if len(entries) == 0 {
		return
	}
	columns := []column{
		{heading: "STATE"},
		{heading: "TARGET"},
		{heading: "KIND", drop: 1},
		{heading: "METHOD", drop: 2},
		{heading: "SOURCE", drop: 3},
		{heading: "ERROR", wrap: true},
	}
	rows := make([][]cell, len(entries))
	for i, e := range entries {
		rows[i] = []cell{
			{text: e.State, style: stateStyle(e.State)},
			{text: e.Target},
			{text: e.Kind},
			{text: e.Method},
			{text: e.Source},
			{text: e.LastError.Message},
		}
	}
	o.table(columns, rows)
}

// stateStyle colors the state of an entry.
func stateStyle(state string) style {
	switch state {
	case inPlace:
		return green
	case nextBootState, "missing", "drifted":
		return yellow
	default:
		return red
	}
}
