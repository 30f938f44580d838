package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// deleteCommand deletes named roots.
func (a *app) deleteCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:        "delete ROOT...",
		SuggestFor: []string{"rm", "remove", "del"},
		Short:      "Delete old roots and snapshots",
		Long: `Delete old roots and snapshots with the subvolumes below them. One that is
protected is refused, with the reason, and then nothing is deleted.

` + referenceHelp,
		Example: `  impermanence delete --dry-run 20261123T0754
  impermanence delete 257 258`,
		Args: arguments(1, -1),
		ValidArgsFunction: a.completeRoots(func(r dbus.RootEntry) bool {
			return r.Flags&dbus.RootProtected == 0
		}, -1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.deleteRoots(cmd.Context(), args, dryRun) },
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be deleted, or why it is protected; delete nothing")
	a.jsonFlag(cmd)
	return cmd
}

// deleteRoots plans, prints the plan when that is all, and else carries it out.
func (a *app) deleteRoots(ctx context.Context, references []string, dryRun bool) error {
	found, err := a.resolveAll(ctx, references)
	if err != nil {
		return err
	}
	roots, err := a.client.Roots(ctx)
	if err != nil {
		return err
	}
	plan := planDelete(found, roots)
	if dryRun {
		return a.printPlan(plan)
	}
	if err := refuse(plan); err != nil {
		return err
	}
	ids := make([]uint64, len(found))
	for i, root := range found {
		ids[i] = root.ID
	}
	id, err := a.client.DeleteRoots(ctx, ids)
	if err != nil {
		return err
	}
	return a.deleted(ctx, id, plan)
}

// reasonAsked is why a root is deleted that was named on the command line.
const reasonAsked = "asked for"

// planDelete says what becomes of each root that was asked for: one that is protected stays.
func planDelete(found []dbus.RootEntry, roots []dbus.Root) []dbus.PlanItem {
	plan := make([]dbus.PlanItem, len(found))
	for i, entry := range found {
		plan[i] = dbus.PlanItem{Root: entry.ID, Name: entry.Name, Remove: true, Reasons: []string{reasonAsked}}
		at := slices.IndexFunc(roots, func(r dbus.Root) bool { return r.ID == entry.ID })
		if at >= 0 && len(roots[at].ProtectReasons) > 0 {
			plan[i].Remove, plan[i].Reasons = false, roots[at].ProtectReasons
		}
	}
	return plan
}

// refuse returns an error for the first root of a plan that stays, with what would let it go.
func refuse(plan []dbus.PlanItem) error {
	for _, item := range plan {
		if item.Remove {
			continue
		}
		err := fmt.Errorf("delete %s: %w: %s", item.Name, dbus.ErrProtected, strings.Join(item.Reasons, ", "))
		if slices.Equal(item.Reasons, []string{"pinned"}) {
			return &advised{err, "impermanence unpin " + quote(item.Name)}
		}
		return &advised{err, "impermanence roots"}
	}
	return nil
}
