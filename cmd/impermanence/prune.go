package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// pruneCommand deletes what the retention policy does not keep.
func (a *app) pruneCommand() *cobra.Command {
	var policy policyFlags
	var dryRun, wait bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Delete the old roots and snapshots that retention does not keep",
		Long: `Delete the old roots and snapshots that the retention policy does not keep, and
print each with the reason. The newest, a pinned one and one that is in use are
always kept. An option replaces that rule of the configured policy, this once.`,
		Example: `  impermanence prune --dry-run
  impermanence prune --keep-within 7d --keep-last 3`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := policy.options(cmd)
			if err != nil {
				return err
			}
			options.Wait = wait
			return a.prune(cmd.Context(), options, dryRun)
		},
	}
	policy.add(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be deleted and kept, and why; delete nothing")
	cmd.Flags().BoolVar(&wait, "wait", false, "end only when the space is free again")
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
		return fmt.Errorf("plan pruning: %w", err)
	}
	if dryRun {
		return a.printPlan(plan)
	}
	id, err := client.Prune(ctx, options)
	if err != nil {
		return fmt.Errorf("prune: %w", err)
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
	a.stdout.table([]column{{heading: "ACTION"}, {heading: "NAME"}, {heading: "REASON", cut: true}}, rows)
	return nil
}

// deleted waits for a job that deletes the roots of the plan, and prints which are gone and which are not.
func (a *app) deleted(ctx context.Context, id uint64, plan []dbus.PlanItem) error {
	job, err := a.await(ctx, id)
	if err != nil {
		return fmt.Errorf("wait for the job: %w", err)
	}
	roots, err := a.client.ListRoots(context.WithoutCancel(ctx), dbus.RootFilter{})
	if err != nil {
		return fmt.Errorf("list roots: %w", err)
	}
	gone, left := split(plan, roots)
	if a.json {
		err = a.stdout.document(deletedDocument{newJobDocument(job), planDocuments(gone), planDocuments(left)})
	} else {
		a.printDeleted(gone, left)
	}
	if err != nil {
		return err
	}
	return outcome(job)
}

// printDeleted prints one line for each root that is gone, and one for each that is not.
func (a *app) printDeleted(gone, left []dbus.PlanItem) {
	rows := make([][]cell, 0, len(gone)+len(left))
	for _, item := range gone {
		rows = append(rows, []cell{{text: "deleted"}, {text: item.Name}, {text: strings.Join(item.Reasons, "; ")}})
	}
	for _, item := range left {
		rows = append(rows, []cell{{text: "not deleted", style: red}, {text: item.Name}, {text: strings.Join(item.Reasons, "; ")}})
	}
	if len(rows) > 0 {
		a.stdout.table([]column{{heading: "RESULT"}, {heading: "NAME"}, {heading: "REASON", cut: true}}, rows)
	}
}

// split divides a plan into the roots that are gone and those that are still there whole.
func split(plan []dbus.PlanItem, roots []dbus.RootEntry) (gone, left []dbus.PlanItem) {
	for _, item := range plan {
		if slices.ContainsFunc(roots, func(r dbus.RootEntry) bool { return r.ID == item.Root }) {
			left = append(left, item)
		} else {
			gone = append(gone, item)
		}
	}
	return gone, left
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
