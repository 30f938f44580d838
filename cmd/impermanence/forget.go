package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// forgetCommand ends the keeping of what persist began to keep.
func (a *app) forgetCommand() *cobra.Command {
	var k keepFlags
	cmd := &cobra.Command{
		Use:        "forget PATH...",
		SuggestFor: []string{"unpersist", "unkeep", "drop"},
		Short:      "Keep no more what persist PATH began to keep",
		Long: `Keep no more what persist PATH began to keep: a copy of it takes its place, the
mount goes, and so does the record. What is kept stays on the volume, where
orphans lists it; nothing is deleted. What a file of the configuration keeps is
taken out there; once it is, this gives the copy back.`,
		Example: `  impermanence forget --dry-run /srv
  impermanence forget /etc/app.conf`,
		Args:              arguments(1, -1),
		ValidArgsFunction: a.completeRecorded,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := k.read(cmd, len(args)); err != nil {
				return err
			}
			return a.forget(cmd.Context(), args, &k)
		},
	}
	k.addWhen(cmd, "put a copy back at once (default)", "leave it in its place until then; the next boot has a place without it", "print what would be done, and why; do nothing")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) forget(ctx context.Context, paths []string, k *keepFlags) error {
	targets, err := absolute(paths)
	if err != nil {
		return err
	}
	if _, err := a.connect(ctx); err != nil {
		return err
	}
	all := a.changeAll(ctx, dbus.RemoveEntry, targets, k)
	if a.json {
		if err := a.stdout.document(forgetDocument{changeDocuments(all)}); err != nil {
			return err
		}
	} else {
		a.printChanges(all, "forgotten")
	}
	return explainChanges(all, len(targets), tryForget)
}

// tryForget is what to type after a path could not be forgotten.
func tryForget(c changed, err error) string {
	switch {
	case isRefusal(err, dbus.ErrMountBusy):
		return "impermanence forget --next-boot " + quote(c.target)
	case isRefusal(err, dbus.ErrNotSupported) && c.err != nil:
		return "systemctl reload impermanenced.service" // after the file was changed
	}
	return ""
}
