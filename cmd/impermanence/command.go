package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker (-X main.version=…).
var version = "unknown"

// command returns the whole command line. Commands stand in the order of a day: look, keep, let go.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "impermanence COMMAND",
		Short: "A root file system that is fresh at every boot; only what was opted in persists",
		Example: `  impermanence status           what happened at this boot, and what is wrong
  impermanence roots            the old roots and snapshots that are kept
  impermanence prune --dry-run  what the retention policy would delete, and why`,
		Version:           version,
		Args:              cobra.ArbitraryArgs,
		RunE:              bare,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(a.stdout.w)
	root.SetErr(a.stderr.w)
	root.SetArgs(a.args)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(
		a.statusCommand(),
		a.rootsCommand(),
		a.persistCommand(),
		a.nextCommand(),
		a.snapshotCommand(),
		a.pinCommand(),
		a.unpinCommand(),
		a.pruneCommand(),
		a.deleteCommand(),
		completionCommand(),
	)
	return root
}

// bare runs when the first argument is no command: there is none, or it is misspelled.
func bare(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

// unknownCommand advises the command that is spelt most like name.
func unknownCommand(cmd *cobra.Command, name string) error {
	try := cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		try = cmd.CommandPath() + " " + near[0]
	}
	return &usageError{fmt.Errorf("unknown command %q", name), try}
}

// flagError says what is wrong with an option, and advises the option that is spelt most like it.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	try := cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if near := nearestFlag(cmd.Flags(), unknown.GetSpecifiedName()); near != "" {
			try = cmd.CommandPath() + " --" + near
		}
	}
	return &usageError{err, try}
}

// nearestFlag returns the option spelt most like name, "" when none is.
func nearestFlag(flags *pflag.FlagSet, name string) string {
	nearest, least := "", max(2, len(name)/3)+1
	flags.VisitAll(func(f *pflag.Flag) {
		d := distance(name, f.Name)
		if strings.HasPrefix(f.Name, name) {
			d = 0
		}
		if !f.Hidden && d < least {
			nearest, least = f.Name, d
		}
	})
	return nearest
}

// distance is the number of characters to insert, delete or replace to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// helpCommand is cobra's, except that a topic that does not exist is a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show how a command is used",
		Args:  arguments(0, 1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range cmd.Root().Commands() {
				if c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), args[0])
			}
			return topic.Help()
		},
	}
}

// arguments accepts from least to most arguments; most is -1 for any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < least:
			err = fmt.Errorf("%s: an argument is missing", cmd.Name())
		case most >= 0 && len(args) > most:
			err = fmt.Errorf("%s: one argument too many: %q", cmd.Name(), args[most])
		default:
			return nil
		}
		return &usageError{err, cmd.CommandPath() + " --help"}
	}
}
