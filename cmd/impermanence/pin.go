package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// pinCommand keeps a root for ever.
func (a *app) pinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pin ROOT...",
		Short: "Keep an old root or snapshot, whatever retention says",
		Long: `Keep an old root or snapshot until it is unpinned, whatever the retention policy
says.

` + referenceHelp,
		Example: `  impermanence pin newest
  impermanence pin 20261123T0754`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRoots(func(r dbus.RootEntry) bool { return whole(r) && r.Flags&dbus.RootPinned == 0 }, -1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.pin(cmd.Context(), args, true) },
	}
	a.jsonFlag(cmd)
	return cmd
}

// unpinCommand lets retention have a root again.
func (a *app) unpinCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unpin ROOT...",
		Short: "Let retention have a pinned old root or snapshot again",
		Long: `Let the retention policy have a pinned old root or snapshot again. Nothing is
deleted before the next prune.

` + referenceHelp,
		Example:           `  impermanence unpin 257`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRoots(func(r dbus.RootEntry) bool { return r.Flags&dbus.RootPinned != 0 }, -1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.pin(cmd.Context(), args, false) },
	}
	a.jsonFlag(cmd)
	return cmd
}

// referenceHelp tells what ROOT may be.
const referenceHelp = `ROOT is a name that roots lists, a beginning of one that no other has, a
subvolume id, or "newest" for the last old root or snapshot that roots lists.`

// pin pins or unpins roots, all or, when one of them is not known, none.
func (a *app) pin(ctx context.Context, references []string, pinned bool) error {
	found, err := a.resolveAll(ctx, references)
	if err != nil {
		return err
	}
	for i, root := range found {
		if err := a.client.SetPinned(ctx, root.ID, pinned); err != nil {
			err = fmt.Errorf("%s %s: %w", map[bool]string{true: "pin", false: "unpin"}[pinned], root.Name, err)
			if i > 0 {
				return fmt.Errorf("%w: %w", errPartly, err)
			}
			return err
		}
	}
	return a.printChanged(ctx, found)
}

// printChanged prints the roots as they are now, with --json only: who changes a root knows what they changed.
func (a *app) printChanged(ctx context.Context, found []dbus.RootEntry) error {
	if !a.json {
		return nil
	}
	roots, err := a.client.Roots(ctx)
	if err != nil {
		return err
	}
	roots = slices.DeleteFunc(roots, func(r dbus.Root) bool {
		return !slices.ContainsFunc(found, func(f dbus.RootEntry) bool { return f.ID == r.ID })
	})
	return a.stdout.document(rootsDocument{Roots: rootDocuments(roots)})
}
