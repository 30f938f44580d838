package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// inPlace is the state of an entry that is as it should be.
const inPlace = "in-place"

// persistCommand puts entries in their place.
func (a *app) persistCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "persist [PATH...]",
		SuggestFor: []string{"apply", "mount"},
		Short:      "Put entries in their place, and list them",
		Long: `Put the entries of the configuration in their place, as a boot does, and list
how they are: all, or those at PATH. What stands in a place and not yet on the
persistent volume is copied there first. Where both hold something and differ,
that is reported, and what is kept is what counts.`,
		Example: `  impermanence persist
  impermanence persist /etc/machine-id /var/log`,
		ValidArgsFunction: a.completeEntries,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.persist(cmd.Context(), args) },
	}
	a.jsonFlag(cmd)
	return cmd
}

// persist puts the entries with these targets in place, all when there is none.
func (a *app) persist(ctx context.Context, paths []string) error {
	client, err := a.connect(ctx)
	if err != nil {
		return err
	}
	entries, err := client.Entries(ctx)
	if err != nil {
		return err
	}
	targets, err := entryTargets(paths, entries)
	if err != nil {
		return err
	}
	id, err := client.ApplyPersistence(ctx, targets)
	if err != nil {
		return err
	}
	return a.persisted(ctx, id, targets)
}

// entryTargets returns the targets that paths, absolute or relative to the working directory, mean. A path that is no
// entry is an error that says how to make it one.
func entryTargets(paths []string, entries []dbus.Entry) ([]string, error) {
	targets := make([]string, 0, len(paths))
	for _, path := range paths {
		target, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("find %q: %w", path, err)
		}
		if !slices.ContainsFunc(entries, func(e dbus.Entry) bool { return e.Target == target }) {
			return nil, notConfigured(target, entries)
		}
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// notConfigured is the error about a path that is no entry: it says which entry it is in, or how to add it.
func notConfigured(target string, entries []dbus.Entry) error {
	volume := "/persist"
	for _, e := range entries {
		if strings.HasPrefix(target, e.Target+"/") {
			err := fmt.Errorf("persist %q: %w: it is kept already as a part of %q", target, dbus.ErrNoSuchEntry, e.Target)
			return &advised{err, "impermanence persist " + quote(e.Target)}
		}
		if v, ok := strings.CutSuffix(e.Source, e.Target); ok && v != "" {
			volume = v
		}
	}
	err := fmt.Errorf("persist %q: %w: add it to directories or files of [persistence.%q] in /etc/impermanence/impermanence.toml",
		target, dbus.ErrNoSuchEntry, volume)
	return &advised{err, "systemctl reload impermanenced.service && impermanence persist " + quote(target)}
}

// persisted waits for the job that puts entries in place, and prints how they are after it.
func (a *app) persisted(ctx context.Context, id uint64, targets []string) error {
	job, err := a.await(ctx, id)
	if err != nil {
		return err
	}
	entries, err := a.client.Entries(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if len(targets) > 0 {
		entries = slices.DeleteFunc(entries, func(e dbus.Entry) bool { return !slices.Contains(targets, e.Target) })
	}
	if a.json {
		if err := a.stdout.document(persistDocument{newJobDocument(job), entryDocuments(entries)}); err != nil {
			return err
		}
	} else {
		if len(entries) == 0 {
			a.notice("no entries are configured")
		}
		a.stdout.entries(entries)
	}
	return outcome(job)
}

// entries prints the table of entries.
func (o output) entries(entries []dbus.Entry) {
	if len(entries) == 0 {
		return
	}
	columns := []column{
		{heading: "STATE"},
		{heading: "TARGET"},
		{heading: "KIND", drop: 1},
		{heading: "METHOD", drop: 2},
		{heading: "SOURCE", drop: 3},
		{heading: "ERROR", wrap: true},
	}
	rows := make([][]cell, len(entries))
	for i, e := range entries {
		rows[i] = []cell{
			{text: e.State, style: stateStyle(e.State)},
			{text: e.Target},
			{text: e.Kind},
			{text: e.Method},
			{text: e.Source},
			{text: e.LastError.Message},
		}
	}
	o.table(columns, rows)
}

// stateStyle colors the state of an entry.
func stateStyle(state string) style {
	switch state {
	case inPlace:
		return green
	case "missing", "drifted":
		return yellow
	default:
		return red
	}
}
