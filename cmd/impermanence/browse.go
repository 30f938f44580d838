package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// browseCommand mounts an old root to look at it.
func (a *app) browseCommand() *cobra.Command {
	var unmount bool
	cmd := &cobra.Command{
		Use:        "browse ROOT",
		SuggestFor: []string{"mount", "open", "cd", "look"},
		Short:      "Mount an old root to look at it, and print where",
		Long: `Mount an old root or snapshot read-only, and print where. It is unmounted when
nobody has looked for ten minutes, and mounted again when somebody does. While
it is mounted it is in use, and not deleted. Only root can enter it.

` + referenceHelp,
		Example: `  cd "$(impermanence browse newest)"
  impermanence browse --unmount newest`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeRestore,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.browse(cmd.Context(), args[0], unmount)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&unmount, "unmount", false, "unmount it now")
	a.jsonFlag(cmd)
	return cmd
}

// browseDocument is what `browse` prints.
type browseDocument struct {
	Root uint64 `json:"root"` // subvolume id
	Name string `json:"name"`
	Path string `json:"path"` // where it is mounted; "" with --unmount
}

// browse mounts or unmounts a root.
func (a *app) browse(ctx context.Context, reference string, unmount bool) error {
	found, err := a.resolveAll(ctx, []string{reference})
	if err != nil {
		return err
	}
	path := ""
	if unmount {
		err = a.client.EndBrowse(ctx, found[0].ID)
	} else {
		path, err = a.client.BrowseRoot(ctx, found[0].ID)
	}
	switch {
	case err != nil:
		return err
	case a.json:
		return a.stdout.document(browseDocument{found[0].ID, found[0].Name, dbus.Bytes(path).String()})
	case !unmount:
		a.stdout.line("%s", path)
	}
	return nil
}
