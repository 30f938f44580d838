package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// rootsCommand lists the old roots and snapshots.
func (a *app) rootsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "roots",
		SuggestFor: []string{"list", "ls"},
		Short:      "List old roots and snapshots, oldest first",
		Long: `List the old roots and snapshots that are kept, oldest first.

Elsewhere than on a terminal the columns are: name, subvolume id, kind, when it
was rolled over (a snapshot: taken), exclusive bytes, why it is protected,
label, what the next prune does with it and why.`,
		Example: `  impermanence roots
  impermanence roots --json | jq -r '.roots[] | select(.pinned).name'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			roots, err := client.Roots(cmd.Context())
			if err == nil && len(roots) == 0 { // objects that can't be had are not there; a list says why
				_, err = client.ListRoots(cmd.Context(), dbus.RootFilter{})
			}
			if err != nil {
				return err
			}
			plan := a.verdicts(cmd.Context(), client)
			if a.json {
				return a.stdout.document(newRootsDocument(roots, plan))
			}
			if len(roots) == 0 {
				a.notice("no old roots yet: the next boot leaves the first")
			}
			a.stdout.roots(roots, plan, time.Now())
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// verdicts asks what the next prune does with each root; none when that can't be had, which prune tells.
func (a *app) verdicts(ctx context.Context, client *dbus.Client) map[uint64]dbus.PlanItem {
	plan, err := client.PlanPrune(ctx, dbus.PruneOptions{})
	if err != nil {
		return nil
	}
	verdicts := make(map[uint64]dbus.PlanItem, len(plan))
	for _, item := range plan {
		verdicts[item.Root] = item
	}
	return verdicts
}

// verdict is what the next prune does with a root, and why, in one cell.
func verdict(plan map[uint64]dbus.PlanItem, id uint64) cell {
	item, ok := plan[id]
	if !ok {
		return cell{}
	}
	return cell{action(item) + ": " + strings.Join(item.Reasons, ", "), actionStyle(item)}
}

// roots prints the table of roots.
func (o output) roots(roots []dbus.Root, plan map[uint64]dbus.PlanItem, now time.Time) {
	if len(roots) == 0 {
		return
	}
	columns := []column{
		{heading: "NAME"},
		{heading: "ID", right: true, drop: 6},
		{heading: "KIND", drop: 3},
		{heading: "ROLLED OVER", drop: 7},
		{heading: "AGE", right: true, drop: 1},
		{heading: "SIZE", right: true, drop: 4},
		{heading: "PROTECTED", drop: 2},
		{heading: "LABEL", drop: 5, cut: true},
		{heading: "AT THE NEXT PRUNE", drop: 8},
	}
	if !o.terminal {
		columns = nil
	}
	rows := make([][]cell, 0, len(roots))
	for _, r := range roots {
		row := []cell{
			{text: r.Name, style: nameStyle(r)},
			{text: fmt.Sprint(r.ID)},
			{text: r.Kind},
			{text: o.moment(r.RolledOver)},
			{text: age(r.RolledOver, now)},
			{text: o.exclusive(r.Size)},
			{text: strings.Join(r.ProtectReasons, ","), style: yellow},
			{text: r.Label},
			verdict(plan, r.ID),
		}
		if !o.terminal {
			row = append(row[:4:4], row[5:]...) // an age is for people
		}
		rows = append(rows, row)
	}
	o.table(columns, rows)
}

// nameStyle marks what is on its way out.
func nameStyle(r dbus.Root) style {
	if r.Deleting {
		return faint
	}
	return plain
}

// exclusive returns a number of bytes for people on a terminal, else for programs; "" when it isn't known.
func (o output) exclusive(n uint64) string {
	switch {
	case n == 0:
		return ""
	case o.terminal:
		return size(n)
	default:
		return fmt.Sprint(n)
	}
}
