package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// labelCommand gives a root the label that roots shows and keepLabels asks for.
func (a *app) labelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "label ROOT TEXT",
		Short: "Note a text with an old root or snapshot",
		Long: `Note a text with an old root or snapshot, instead of the one it has; "" takes it
away. It is shown by roots, and retention keeps what has a label that keepLabels
in the configuration names.

` + referenceHelp,
		Example:           `  impermanence label newest "before the upgrade"`,
		Args:              arguments(2, 2),
		ValidArgsFunction: a.completeRoots(whole, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.label(cmd.Context(), args[0], args[1]) },
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) label(ctx context.Context, reference, text string) error {
	found, err := a.resolveAll(ctx, []string{reference})
	if err != nil {
		return err
	}
	if err := a.client.SetLabel(ctx, found[0].ID, text); err != nil {
		return fmt.Errorf("label %s: %w", found[0].Name, err)
	}
	return a.printChanged(ctx, found)
}
