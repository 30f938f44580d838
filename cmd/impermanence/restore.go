package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// What restore does with a path, as the daemon says it.
const (
	restoredSame   = "same"
	restoredFailed = "failed"
)

// restoreCommand brings paths of an old root back.
func (a *app) restoreCommand() *cobra.Command {
	var options dbus.RestoreOptions
	var keep bool
	cmd := &cobra.Command{
		Use:        "restore ROOT PATH...",
		SuggestFor: []string{"recover", "undelete", "get", "cp", "copy"},
		Short:      "Bring files and directories of an old root back",
		Long: `Bring what is at each PATH in an old root or snapshot back, with owners, modes,
ACLs, attributes, links and times. A directory that is there is gone into. What
is there already is left alone; anything else in the way is kept beside what
takes its place, and named. Nothing is seen before it is complete.

What is brought back is gone at the next boot, unless it lies on an entry: keep
it with --persist.

` + referenceHelp,
		Example: `  impermanence restore newest /etc/app.conf
  impermanence restore --dry-run 20261123T0754 /var/lib/app
  impermanence restore --to /tmp newest /home/demo/notes`,
		Args:              arguments(2, -1),
		ValidArgsFunction: a.completeRestore,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.restore(cmd.Context(), args[0], args[1:], options, keep)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&options.To, "to", "", "put each by its last name into this `DIRECTORY`, not back where it was")
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "print what would be done; change nothing")
	cmd.Flags().BoolVar(&keep, "persist", false, "keep what was brought back from now on, as persist does")
	_ = cmd.MarkFlagDirname("to")
	a.jsonFlag(cmd)
	return cmd
}

// restore brings paths back, prints what became of each, and keeps them when that is wanted.
func (a *app) restore(ctx context.Context, reference string, paths []string, options dbus.RestoreOptions, keep bool) error {
	var err error
	if options.Paths, err = absolute(paths); err != nil {
		return err
	}
	if options.To != "" {
		if options.To, err = absolutePath(options.To); err != nil {
			return err
		}
	}
	found, err := a.resolveAll(ctx, []string{reference})
	if err != nil {
		return err
	}
	results, err := a.client.Restore(ctx, found[0].ID, options)
	if err != nil {
		return err
	}
	all, job, err := gather(ctx, a, results)
	if err != nil {
		return err
	}
	var kept []changed
	if keep && !options.DryRun && ctx.Err() == nil {
		entries, err := a.client.Entries(ctx)
		if err != nil {
			return err
		}
		kept = a.changeAll(ctx, dbus.AddEntry, toKeep(options, all, entries), &keepFlags{})
	}
	if err := a.printRestored(all, job, kept, options.DryRun); err != nil {
		return err
	}
	failed := outcome(job)
	if missing := slices.IndexFunc(all, isFailed); missing >= 0 && errors.Is(failed, dbus.ErrSourceMissing) {
		failed = &advised{failed, "impermanence log " + quote(string(all[missing].Path))}
	}
	return both(failed, explainChanges(kept, len(kept)+1, tryPersist))
}

func isFailed(r dbus.RestoreResult) bool { return r.Action == restoredFailed }

// gather reads results to their end, closes them, and returns them with the job that they come from, which has ended. An
// interrupt cancels the job; what it has told by then is kept.
func gather[T any](ctx context.Context, a *app, results *dbus.Results[T]) ([]T, dbus.Job, error) {
	defer func() { _ = results.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = a.client.Cancel(context.WithoutCancel(ctx), results.Job()) })
	defer stop()
	var all []T
	for r, err := range results.All(context.WithoutCancel(ctx)) {
		if errors.Is(err, dbus.ErrUnreachable) {
			return all, dbus.Job{}, err
		}
		if err != nil {
			break // the job says why
		}
		all = append(all, r)
	}
	stop() // await cancels by itself
	job, err := a.await(ctx, results.Job())
	return all, job, err
}

// toKeep are the paths to keep: where those that were asked for are now, if nothing of them failed, and no entry keeps them.
func toKeep(options dbus.RestoreOptions, all []dbus.RestoreResult, entries []dbus.Entry) []string {
	var targets []string
	for _, p := range options.Paths {
		target := p
		if options.To != "" {
			target = filepath.Join(options.To, filepath.Base(p))
		}
		failed := slices.ContainsFunc(all, func(r dbus.RestoreResult) bool {
			return r.Action == restoredFailed && isWithin(string(r.Target), target)
		})
		kept := slices.ContainsFunc(entries, func(e dbus.Entry) bool { return isWithin(target, e.Target) })
		if !failed && !kept {
			targets = append(targets, target)
		}
	}
	return targets
}

// isWithin tells whether a path is another one, or below it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// printRestored prints what became of each path. What was there already is worth no line.
func (a *app) printRestored(all []dbus.RestoreResult, job dbus.Job, kept []changed, dryRun bool) error {
	if a.json {
		return a.stdout.document(newRestoreDocument(all, job, kept))
	}
	var rows [][]cell
	for _, r := range all {
		if r.Action != restoredSame {
			rows = append(rows, []cell{{text: r.Action, style: restoredStyle(r.Action)}, {text: string(r.Target)}, {text: restoredNote(r)}})
		}
	}
	for _, c := range kept {
		if c.failure() == nil {
			rows = append(rows, []cell{{"kept", green}, {text: c.target}, {text: c.whatNow()}})
		}
	}
	switch {
	case len(rows) > 0:
		a.stdout.table([]column{{heading: "RESULT"}, {heading: "PATH"}, {heading: "NOTE", wrap: true}}, rows)
	case len(all) > 0:
		a.notice("it is there already, as it was")
	}
	if len(kept) == 0 && !dryRun && job.Result != dbus.ResultFailed {
		a.notice("what does not lie on an entry is gone at the next boot: see impermanence persist --help")
	}
	return nil
}

func restoredStyle(action string) style {
	switch action {
	case restoredFailed:
		return red
	case "replaced":
		return yellow
	default:
		return green
	}
}

// restoredNote says what there is to say of a result in words.
func restoredNote(r dbus.RestoreResult) string {
	var notes []string
	if r.Error != nil {
		notes = append(notes, r.Error.Message)
	}
	if r.Entries > 1 {
		notes = append(notes, fmt.Sprintf("%d files and directories, %s", r.Entries, size(r.Bytes)))
	}
	switch {
	case r.Aside != "":
		notes = append(notes, "what was there is now "+string(r.Aside))
	case r.Action == "replaced":
		notes = append(notes, "what is there would be kept aside")
	}
	return strings.Join(notes, "; ")
}

// completeRestore completes a root, then paths: those of the running root are a guess that is often right.
func (a *app) completeRestore(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeRoots(whole, 1)(cmd, args, toComplete)
}
