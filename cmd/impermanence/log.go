package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// logCommand tells which roots have which versions of a path.
func (a *app) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "log PATH",
		SuggestFor: []string{"history", "versions", "find"},
		Short:      "Show which old roots have which version of a path",
		Long: `Show which old roots and snapshots have which version of what is at PATH, oldest
first, and what the running root has, last. The same number is the same thing:
kind, owner, mode, attributes and content. A directory is taken to be the same
when the names, sizes and times in it are.

Elsewhere than on a terminal the columns are: version (0: not there), name of
the root ("" for the running one), when it was rolled over, kind, size, mode,
user id, group id, when it was modified, text of a symlink, error.`,
		Example: `  impermanence log /etc/app.conf
  impermanence restore newest /etc/app.conf`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.log(cmd.Context(), args[0]) },
	}
	a.jsonFlag(cmd)
	return cmd
}

// log prints the versions of a path.
func (a *app) log(ctx context.Context, path string) error {
	path, err := absolutePath(path)
	if err != nil {
		return err
	}
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	results, err := client.ListVersions(ctx, path)
	if err != nil {
		return err
	}
	all, job, err := gather(ctx, a, results)
	if err != nil {
		return err
	}
	if a.json {
		if err := a.stdout.document(newLogDocument(path, all)); err != nil {
			return err
		}
		return outcome(job)
	}
	a.stdout.versions(all, time.Now())
	return outcome(job)
}

// versions prints the table of versions.
func (o output) versions(all []dbus.Version, now time.Time) {
	columns := []column{
		{heading: "VERSION", right: true},
		{heading: "ROOT"},
		{heading: "ROLLED OVER", drop: 5},
		{heading: "KIND", drop: 3},
		{heading: "SIZE", right: true},
		{heading: "MODE", drop: 2},
		{heading: "UID", right: true, drop: 4},
		{heading: "GID", right: true, drop: 4},
		{heading: "MODIFIED"},
		{heading: "NOTE", wrap: true},
	}
	if !o.terminal {
		columns = nil
	}
	rows := make([][]cell, len(all))
	for i, v := range all {
		rows[i] = o.versionIn(v, now)
	}
	o.table(columns, rows)
}

// versionIn is the row of one root.
func (o output) versionIn(v dbus.Version, now time.Time) []cell {
	name, number, problem := v.Name, fmt.Sprint(v.Version), ""
	if v.Error != nil {
		problem = v.Error.Message
	}
	row := []cell{
		{text: number},
		{text: name},
		{text: o.moment(microseconds(v.RolledOverUSec))},
		{text: v.Kind},
		{text: fmt.Sprint(v.Size)},
		{text: fmt.Sprintf("%04o", v.Mode)},
		{text: fmt.Sprint(v.UID)},
		{text: fmt.Sprint(v.GID)},
		{text: o.moment(microseconds(v.ModifiedUSec))},
	}
	if v.Version == 0 {
		row = []cell{{text: number}, {text: name}, row[2], {text: v.Kind}, {}, {}, {}, {}, {}}
	}
	if !o.terminal {
		return append(row, cell{text: string(v.Link)}, cell{text: problem})
	}
	row[2].text, row[8].text = o.when(microseconds(v.RolledOverUSec), now), o.when(microseconds(v.ModifiedUSec), now)
	if v.Root == 0 {
		row[1].text, row[2].text = "(running)", ""
	}
	if v.Version == 0 {
		row[0].text, row[8].text = "", ""
	} else {
		row[4].text = size(v.Size)
	}
	if v.Link != "" {
		problem = "-> " + string(v.Link)
	}
	return append(row, cell{text: problem})
}

// microseconds is the time that a number of microseconds since 1970 stands for; none for 0.
func microseconds(usec uint64) time.Time {
	if usec == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(usec))
}
