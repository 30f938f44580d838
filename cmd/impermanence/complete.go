package main

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// completion completes the arguments of a command in a shell.
type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completionPatience is how long a shell waits for the daemon before it completes nothing.
const completionPatience = 2 * time.Second

// completeRoots completes the names of the roots that are wanted, up to most of them (-1 for any number), newest first.
func (a *app) completeRoots(wanted func(dbus.RootEntry) bool, most int) completion {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		names := a.rootNames(ctx, func(r dbus.RootEntry) bool {
			return wanted(r) && strings.HasPrefix(r.Name, toComplete) && !slices.Contains(args, r.Name)
		})
		return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// rootNames returns the roots that are wanted as words to complete, newest first; none when the daemon does not answer.
func (a *app) rootNames(ctx context.Context, wanted func(dbus.RootEntry) bool) []string {
	client, err := a.connect(ctx)
	if err != nil {
		return nil
	}
	roots, err := client.ListRoots(ctx, dbus.RootFilter{})
	if err != nil {
		return nil
	}
	now := time.Now()
	var names []string
	for _, r := range slices.Backward(roots) {
		if wanted(r) && completable(r.Name) {
			names = append(names, cobra.CompletionWithDesc(r.Name, describe(r, now)))
		}
	}
	return names
}

// completable tells whether a name may be completed. The shell's script reads a line up to its tab, the terminal that lists it acts on
// control characters, and the script has the shell evaluate what is typed so far, which may be what several names begin with.
func completable(name string) bool {
	return !strings.ContainsAny(name, "$`") && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// describe says what a root is in a list of completions.
func describe(r dbus.RootEntry, now time.Time) string {
	words := []string{"old root"}
	switch {
	case r.Flags&dbus.RootSnapshot != 0:
		words[0] = "snapshot"
	case r.Flags&dbus.RootDiscarded != 0:
		words[0] = "discarded"
	}
	if when := ago(r.RolledOver, now); when != "" {
		words = append(words, when)
	}
	if r.Flags&dbus.RootPinned != 0 {
		words = append(words, "pinned")
	}
	return strings.Join(words, ", ")
}

// completeNext completes what the next boot may do.
func (a *app) completeNext(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	names, directive := a.completeRoots(whole, 1)(cmd, args, toComplete)
	if len(args) == 0 {
		names = append([]string{
			cobra.CompletionWithDesc(nextFresh, "a fresh root, as always"),
			cobra.CompletionWithDesc(nextKeep, "the root stays as it is"),
		}, names...)
	}
	return names, directive
}
