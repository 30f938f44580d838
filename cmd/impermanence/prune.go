package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// pruneCommand deletes what the retention policy does not keep.
func (a *app) pruneCommand() *cobra.Command {
	var options dbus.PruneOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:        "prune",
		SuggestFor: []string{"gc", "clean", "cleanup"},
		Short:      "Delete the old roots and snapshots that retention does not keep",
		Long: `Delete the old roots and snapshots that the retention policy does not keep, and
print each with the reason. The newest, a pinned one, one that is in use and one
that an entry is still to be taken from are always kept. An option replaces that
rule of the configured policy, this once.`,
		Example: `  impermanence prune --dry-run
  impermanence prune --keep-within 7d --keep-last 3`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.prune(cmd.Context(), options, dryRun)
		},
	}
	addPolicy(cmd.Flags(), &options)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be deleted and kept, and why; delete nothing")
	cmd.Flags().BoolVar(&options.Wait, "wait", false, "end only when the space is free again")
	a.jsonFlag(cmd)
	return cmd
}

// prune plans, prints the plan when that is all, and else carries it out.
func (a *app) prune(ctx context.Context, options dbus.PruneOptions, dryRun bool) error {
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	plan, err := client.PlanPrune(ctx, options)
	if err != nil {
		return err
	}
	if dryRun {
		return a.printPlan(plan)
	}
	id, err := client.Prune(ctx, options)
	if err != nil {
		return err
	}
	unwanted := slices.DeleteFunc(plan, func(item dbus.PlanItem) bool { return !item.Remove })
	if len(unwanted) == 0 {
		a.notice("nothing to prune: the retention policy keeps every root")
	}
	return a.deleted(ctx, id, unwanted)
}

// printPlan prints what would become of each root, and why.
func (a *app) printPlan(plan []dbus.PlanItem) error {
	if a.json {
		return a.stdout.document(planDocument{Plan: planDocuments(plan)})
	}
	if len(plan) == 0 {
		a.notice("no old roots yet")
		return nil
	}
	rows := make([][]cell, len(plan))
	for i, item := range plan {
		rows[i] = []cell{{text: action(item), style: actionStyle(item)}, {text: item.Name}, {text: strings.Join(item.Reasons, "; ")}}
	}
	a.stdout.table([]column{{heading: "ACTION"}, {heading: "NAME"}, {heading: "REASON", wrap: true}}, rows)
	return nil
}

// action is the word for what a plan does with a root.
func action(item dbus.PlanItem) string {
	if item.Remove {
		return "delete"
	}
	return "keep"
}

func actionStyle(item dbus.PlanItem) style {
	if item.Remove {
		return red
	}
	return plain
}
