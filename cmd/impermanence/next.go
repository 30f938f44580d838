package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// What the next boot does with the root, in words that cannot be the name of an old root.
const (
	nextFresh = "fresh"
	nextKeep  = "keep"
	nextRoot  = "root"
)

// nextCommand shows or chooses what the next boot does.
func (a *app) nextCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "next [fresh|keep|ROOT]",
		SuggestFor: []string{"boot", "rollback", "keep", "fresh"},
		Short:      "Show or choose what the next boot does with the root",
		Long: `Show what the next boot does with the root, or choose it. The choice holds for
one boot:

  fresh  the root is fresh, as always
  keep   the root stays as it is
  ROOT   the root is a writable copy of that old root or snapshot

` + referenceHelp,
		Example: `  impermanence next
  impermanence next keep
  impermanence next 20261123T0754`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNext,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := a.setNext(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			if len(args) > 0 && !a.json {
				return nil
			}
			return a.printNext(cmd.Context())
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// setNext chooses what the next boot does.
func (a *app) setNext(ctx context.Context, choice string) error {
	value := choice
	if choice != nextFresh && choice != nextKeep {
		found, err := a.resolveAll(ctx, []string{choice})
		if err != nil {
			return err
		}
		value = strconv.FormatUint(found[0].ID, 10)
	}
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	return client.SetNextBoot(ctx, value)
}

// printNext prints what the next boot does.
func (a *app) printNext(ctx context.Context) error {
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	manager, err := client.Manager(ctx)
	if err != nil {
		return err
	}
	roots, err := client.ListRoots(ctx, dbus.RootFilter{})
	if err != nil {
		return err
	}
	names := map[uint64]string{}
	for _, r := range roots {
		names[r.ID] = r.Name
	}
	next := newNextBoot(manager.NextBoot, names)
	if a.json {
		return a.stdout.document(nextDocument{next})
	}
	a.stdout.line("%s", a.stdout.text(next.String()))
	return nil
}

// newNextBoot reads what the daemon says of the next boot ("fresh", "keep" or the id of a root), given the names of roots.
func newNextBoot(value string, names map[uint64]string) nextBootDocument {
	id, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return nextBootDocument{Action: value}
	}
	next := nextBootDocument{Action: nextRoot, ID: id, Name: names[id]}
	if next.Name == "" {
		next.Name = value
	}
	return next
}

// String returns what would be typed to choose it.
func (n nextBootDocument) String() string {
	if n.Action == nextRoot {
		return n.Name
	}
	return n.Action
}
