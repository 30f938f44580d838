package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// orphansCommand lists what lies on volumes for nobody.
func (a *app) orphansCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "orphans [VOLUME]",
		SuggestFor: []string{"undeclared", "leftovers"},
		Short:      "List what lies on persistent volumes and no entry declares",
		Long: `List what lies on a persistent volume, or on all, and no entry declares: what
was forgotten, or taken out of the configuration. Of each tree only the top is
listed. Nothing is deleted, now or later: that is up to you.`,
		Example: `  impermanence orphans
  impermanence orphans /persist`,
		Args: arguments(0, 1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeVolumes(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.orphans(cmd.Context(), args) },
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) orphans(ctx context.Context, args []string) error {
	volume := ""
	if len(args) > 0 {
		var err error
		if volume, err = absolutePath(args[0]); err != nil {
			return err
		}
	}
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	orphans, err := client.Orphans(ctx, volume)
	if err != nil {
		return err
	}
	if a.json {
		return a.stdout.document(orphansDocument{orphanDocuments(orphans)})
	}
	if len(orphans) == 0 {
		a.notice("entries declare all that lies on persistent volumes")
		return nil
	}
	rows := make([][]cell, len(orphans))
	for i, o := range orphans {
		rows[i] = []cell{{text: o.Kind}, {text: o.Path}, {text: o.Volume}}
	}
	a.stdout.table([]column{{heading: "KIND"}, {heading: "PATH"}, {heading: "VOLUME", drop: 1}}, rows)
	return nil
}

func orphanDocuments(orphans []dbus.Orphan) []orphanDocument {
	documents := make([]orphanDocument, len(orphans))
	for i, o := range orphans {
		documents[i] = orphanDocument{dbus.Bytes(o.Path), o.Kind, o.Volume}
	}
	return documents
}
