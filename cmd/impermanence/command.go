package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set by the linker (-X main.version=…).
var version = "unknown"

// command returns the whole command line.
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
	root.Flags().Bool("version", false, "show the version")
	root.PersistentFlags().BoolP("help", "h", false, "show how a command is used")
	root.PersistentFlags().StringVarP(&a.host, "host", "H", "", "do it on another machine, over ssh: `[USER@]HOST`")
	a.direct.add(root.PersistentFlags())
	root.PersistentPreRunE = a.elsewhere
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.stdout.help(cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { a.stdout.usage(cmd); return nil })
	root.AddGroup(helpGroups()...)
	root.AddCommand(inGroup(groupLook, a.statusCommand(), a.diffCommand(), a.rootsCommand(), a.reportCommand(), a.orphansCommand(), a.metricsCommand())...)
	root.AddCommand(inGroup(groupKeep, a.persistCommand(), a.snapshotCommand(), a.pinCommand(), a.labelCommand(), a.nextCommand())...)
	root.AddCommand(inGroup(groupBack, a.restoreCommand(), a.browseCommand(), a.logCommand())...)
	root.AddCommand(inGroup(groupLetGo, a.unpinCommand(), a.forgetCommand(), a.pruneCommand(), a.deleteCommand())...)
	root.AddCommand(inGroup(groupSetUp, a.setupCommand(), a.checkCommand(), a.templateCommand(), a.importCommand())...)
	root.AddCommand(inGroup(groupShell, completionCommand())...)
	root.SetHelpCommand(helpCommand())
	withoutFiles(root)
	return root
}

// bare runs when the first argument is no command: there is none, or it is misspelled.
func bare(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

// elsewhere runs before a command: with --host it runs on another machine instead. What needs no daemon runs here.
func (a *app) elsewhere(cmd *cobra.Command, _ []string) error {
	if err := a.direct.check(cmd.CommandPath()); err != nil {
		return err
	}
	if err := notEmpty(cmd); err != nil {
		return err
	}
	if a.host == "" || cmd.GroupID == groupShell || !cmd.HasParent() {
		return nil
	}
	return a.remote(cmd.Context())
}

// notEmpty refuses an option that is to name something and does not, as where a variable of a script was never set: what is
// done without the option is something else.
func notEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		mayBe := f.Name == "label" || f.Name == "host" // no label, this machine
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, is := f.Value.(pflag.SliceValue); is {
			empty = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if empty && !mayBe {
			err = &usageError{fmt.Errorf("%s: --%s is empty", cmd.Name(), f.Name), cmd.CommandPath() + " --help"}
		}
	})
	return err
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
