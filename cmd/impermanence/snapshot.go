package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// snapshotCommand copies the running root.
func (a *app) snapshotCommand() *cobra.Command {
	var label string
	cmd := &cobra.Command{
		Use:        "snapshot",
		SuggestFor: []string{"create", "save"},
		Short:      "Copy the running root, read-only, beside the old roots",
		Long: `Copy the running root, read-only, beside the old roots, and print the name of
the copy. Retention lets it go like an old root; what should stay is pinned.`,
		Example: `  impermanence snapshot --label "before the upgrade"
  impermanence pin "$(impermanence snapshot)"`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			id, err := client.CreateSnapshot(cmd.Context(), label)
			if err != nil {
				return err
			}
			return a.snapshotTaken(cmd.Context(), id)
		},
	}
	cmd.Flags().StringVar(&label, "label", "", "note `TEXT` with it, shown by roots")
	a.jsonFlag(cmd)
	return cmd
}

// snapshotTaken waits for the job that takes a snapshot, and prints the snapshot's name.
func (a *app) snapshotTaken(ctx context.Context, id uint64) error {
	job, err := a.await(ctx, id)
	if err != nil {
		return err
	}
	roots, err := a.client.Roots(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	name, _ := job.Details["name"].(string)
	at := slices.IndexFunc(roots, func(r dbus.Root) bool { return name != "" && r.Name == name })
	if a.json {
		document := snapshotDocument{Job: newJobDocument(job)}
		if at >= 0 {
			taken := newRootDocument(roots[at])
			document.Snapshot = &taken
		}
		if err := a.stdout.document(document); err != nil {
			return err
		}
	} else if at >= 0 {
		a.stdout.line("%s", a.stdout.text(roots[at].Name))
	}
	return outcome(job)
}
