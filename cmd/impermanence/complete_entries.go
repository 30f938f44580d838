package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// knownEntries asks for the entries; none when the daemon does not answer soon.
func (a *app) knownEntries(ctx context.Context) []dbus.Entry {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	client, err := a.connect(ctx)
	if err != nil {
		return nil
	}
	entries, err := client.Entries(ctx)
	if err != nil {
		return nil
	}
	return entries
}

// completePersist completes the targets of entries, those that are not in place first; what is none is a file's name.
func (a *app) completePersist(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	entries := a.knownEntries(cmd.Context())
	slices.SortStableFunc(entries, compareInPlace)
	targets := targetsToComplete(entries, args, toComplete)
	if len(targets) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return targets, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// recordName is how the origin of what was added while the system ran is told from a file of the configuration.
const recordName = "/.impermanence/entries.toml:"

// completeRecorded completes what persist PATH began to keep.
func (a *app) completeRecorded(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	recorded := slices.DeleteFunc(a.knownEntries(cmd.Context()), func(e dbus.Entry) bool { return !strings.Contains(e.Origin, recordName) })
	return targetsToComplete(recorded, args, toComplete), cobra.ShellCompDirectiveNoFileComp
}

func targetsToComplete(entries []dbus.Entry, args []string, toComplete string) []string {
	var targets []string
	for _, e := range entries {
		if strings.HasPrefix(e.Target, toComplete) && completable(e.Target) && !slices.Contains(args, e.Target) {
			targets = append(targets, cobra.CompletionWithDesc(e.Target, e.State))
		}
	}
	return targets
}

// completeVolumes completes the persistent volumes that entries are on.
func (a *app) completeVolumes(cmd *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	var volumes []string
	for _, e := range a.knownEntries(cmd.Context()) {
		volume, ok := strings.CutSuffix(e.Source, e.Target)
		if ok && volume != "" && strings.HasPrefix(volume, toComplete) && completable(volume) && !slices.Contains(volumes, volume) {
			volumes = append(volumes, volume)
		}
	}
	return volumes, cobra.ShellCompDirectiveNoFileComp
}

// compareInPlace orders what needs attention before what does not.
func compareInPlace(a, b dbus.Entry) int {
	switch aIn, bIn := a.State == inPlace, b.State == inPlace; {
	case aIn == bIn:
		return 0
	case bIn:
		return -1
	default:
		return 1
	}
}
