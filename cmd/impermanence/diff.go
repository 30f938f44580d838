package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// diffOptions say what of the differences is shown, and how.
type diffOptions struct {
	since   string
	ignored bool
	all     bool
	pick    bool
}

// diffCommand shows what the next boot will lose, or in what roots differ.
func (a *app) diffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:        "diff [ROOT [ROOT]] [PATH...]",
		SuggestFor: []string{"losses", "lost", "changes", "compare"},
		Short:      "Show what the next boot will lose, or in what roots differ",
		Long: `Show what the next boot will lose: in what the running root differs from the
root that the next boot makes, but for what entries and other mounts keep and
what rules ignore. With one ROOT, show in what the running root differs from
that one; with two, in what the second differs from the first. A PATH, which has
a "/" in it, shows only what is there or below.

` + referenceHelp + `

What was moved is renamed, and what was written again as it was is no
difference. Elsewhere than on a terminal the lines come as they are found, in no
order, and the columns are: change, path, type, size in bytes, when it was
changed, what differs, where it was before, rule.`,
		Example: `  impermanence diff
  impermanence diff --since 2h /etc
  impermanence diff newest
  sudo impermanence diff --interactive
  impermanence diff --json | jq -r 'select(.size > 1e6).path'`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeDiff,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.diff(cmd, args, o) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&o.since, "since", "", "show only what was changed since `BOOT|TIME`: boot, a boot id, 2h, 3d, 10:30, 2026-11-23")
	cmd.Flags().BoolVar(&o.ignored, "ignored", false, "show what is ignored too, with the rule")
	cmd.Flags().BoolVarP(&o.all, "all", "a", false, "show each file of a directory that is all new or gone")
	cmd.Flags().BoolVar(&o.pick, "interactive", false, "mark in a full-screen list what to persist, ignore or look at")
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON object a line, as they are found")
	return cmd
}

// diff asks for the differences and prints them.
func (a *app) diff(cmd *cobra.Command, args []string, o diffOptions) error {
	q, err := a.question(cmd, args, o)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	results, err := q.ask(ctx, a.client)
	if err != nil {
		return err
	}
	defer func() { _ = results.Close() }()
	switch {
	case o.pick:
		return a.pick(ctx, results)
	case a.json:
		return a.diffJSON(ctx, results)
	case a.stdout.terminal:
		return a.diffTree(ctx, results, q, o.all)
	default:
		return a.diffLines(ctx, results)
	}
}

// question is what is asked of the daemon.
type question struct {
	roots  []dbus.RootEntry // none: losses
	filter dbus.ChangeFilter
}

// question reads the command line.
func (a *app) question(cmd *cobra.Command, args []string, o diffOptions) (q question, err error) {
	var references []string
	for _, arg := range args {
		if !strings.Contains(arg, "/") && arg != "." && arg != ".." {
			references = append(references, arg)
			continue
		}
		p, err := filepath.Abs(arg)
		if err != nil {
			return q, err
		}
		q.filter.Paths = append(q.filter.Paths, p)
	}
	wrong := func(format string, args ...any) error {
		return &usageError{fmt.Errorf("diff: "+format, args...), cmd.CommandPath() + " --help"}
	}
	switch {
	case len(references) > 2:
		return q, wrong("one root too many: %q", references[2])
	case o.pick && (len(references) > 0 || a.json || !a.stdout.terminal):
		return q, wrong("--interactive is for losses, on a terminal")
	case len(references) > 0 && o.ignored:
		return q, wrong("nothing is ignored where roots are compared")
	}
	if _, err = a.connect(cmd.Context()); err != nil {
		return q, err
	}
	if len(references) > 0 {
		if q.roots, err = a.resolveAll(cmd.Context(), references); err != nil {
			return q, err
		}
		if len(q.roots) < len(references) {
			return q, wrong("%q and %q are the same root", references[0], references[1])
		}
	}
	q.filter.Ignored = o.ignored
	if o.since != "" {
		q.filter.Since, err = a.since(cmd.Context(), o.since, time.Now())
	}
	return q, err
}

func (q question) ask(ctx context.Context, client *dbus.Client) (*dbus.Results[dbus.FileChange], error) {
	switch len(q.roots) {
	case 0:
		return client.ListLosses(ctx, q.filter)
	case 1:
		return client.CompareRoots(ctx, q.roots[0].ID, 0, q.filter)
	default:
		return client.CompareRoots(ctx, q.roots[0].ID, q.roots[1].ID, q.filter)
	}
}

// diffJSON prints the differences as they come, as the daemon has written them.
func (a *app) diffJSON(ctx context.Context, results *dbus.Results[dbus.FileChange]) error {
	return eachOf(results, results.Lines(ctx), a.stdout, func(o output, line []byte) {
		_, _ = o.w.Write(line)
	})
}

// diffLines prints the differences for programs, as they come.
func (a *app) diffLines(ctx context.Context, results *dbus.Results[dbus.FileChange]) error {
	return eachOf(results, results.All(ctx), a.stdout, func(o output, c dbus.FileChange) {
		o.tabbed(o.escaped([][]cell{{
			{text: c.Change},
			{text: string(c.Path)},
			{text: c.Type},
			{text: fmt.Sprint(c.Size)},
			{text: o.moment(c.Changed)},
			{text: strings.Join(c.Aspects, ",")},
			{text: string(c.From)},
			{text: c.Rule},
		}}))
	})
}

// eachOf prints each of the results as it comes; as long as more are here already, many at once.
func eachOf[T any](results *dbus.Results[dbus.FileChange], all iter.Seq2[T, error], o output, print func(output, T)) error {
	buffer := bufio.NewWriterSize(o.w, printBuffer)
	defer func() { _ = buffer.Flush() }() // what is beneath it keeps the error
	for v, err := range all {
		if err != nil {
			return incomplete(err)
		}
		print(o.to(buffer), v)
		if results.Pending() {
			continue
		}
		if err := buffer.Flush(); err != nil {
			return err
		}
	}
	return buffer.Flush()
}

// printBuffer is how much is printed at once, in bytes.
const printBuffer = 64 << 10

// incomplete says of an error that what was printed so far is not all.
func incomplete(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("diff: %w: what is printed is not all", dbus.ErrCanceled)
	}
	return err
}

// completeDiff completes roots; the shell does paths.
func (a *app) completeDiff(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if strings.ContainsAny(toComplete, "/.") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var named []string
	for _, arg := range args {
		if !strings.Contains(arg, "/") {
			named = append(named, arg)
		}
	}
	names, _ := a.completeRoots(whole, 2)(cmd, named, toComplete)
	if len(names) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return names, cobra.ShellCompDirectiveKeepOrder
}
