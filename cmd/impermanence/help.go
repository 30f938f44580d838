package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups that help shows commands in.
const (
	groupLook  = "look"
	groupKeep  = "keep"
	groupBack  = "back"
	groupLetGo = "let-go"
	groupSetUp = "set-up"
	groupShell = "shell"
)

// helpGroups are the groups and their headings, in the order of a day.
func helpGroups() []*cobra.Group {
	return []*cobra.Group{
		{ID: groupLook, Title: "Look:"},
		{ID: groupKeep, Title: "Keep:"},
		{ID: groupBack, Title: "Bring back:"},
		{ID: groupLetGo, Title: "Let go:"},
		{ID: groupSetUp, Title: "Set up:"},
		{ID: groupShell, Title: "Use it better:"},
	}
}

// inGroup puts commands into a group of the help.
func inGroup(id string, commands ...*cobra.Command) []*cobra.Command {
	for _, cmd := range commands {
		cmd.GroupID = id
	}
	return commands
}

// help prints how a command is used.
func (o output) help(cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	o.line("%s\n", about)
	o.usage(cmd)
}

// usage prints the part of the help that can be derived: usage, examples, commands and options.
func (o output) usage(cmd *cobra.Command) {
	o.line("%s\n  %s", o.paint(bold, "Usage:"), synopsis(cmd))
	if cmd.Example != "" {
		o.line("\n%s\n%s", o.paint(bold, "Examples:"), cmd.Example)
	}
	for _, group := range cmd.Groups() {
		o.line("\n%s", o.paint(bold, group.Title))
		for _, c := range cmd.Commands() {
			if c.GroupID == group.ID && shown(c) {
				o.line("  %s%s", pad(c.Name(), topicWidth), c.Short)
			}
		}
	}
	o.options("Options:", cmd.LocalFlags())
	o.options("Options of every command:", cmd.InheritedFlags())
}

// synopsis returns a command with all that may follow it.
func synopsis(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	if cmd.HasLocalFlags() {
		words = append(words, "[OPTION...]")
	}
	if arguments := strings.TrimPrefix(cmd.Use, cmd.Name()); arguments != "" {
		words = append(words, strings.TrimSpace(arguments))
	}
	return strings.Join(words, " ")
}

// shown says whether help lists a command; cobra itself leaves help out.
func shown(cmd *cobra.Command) bool {
	return cmd.IsAvailableCommand() || cmd.Name() == "help"
}

// options prints the options of a command below a heading.
func (o output) options(heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	width := o.width
	if width == 0 {
		width = defaultWidth
	}
	usages := strings.Split(strings.TrimRight(flags.FlagUsagesWrapped(width), "\n"), "\n")
	o.line("\n%s\n%s", o.paint(bold, heading), strings.Join(usages, "\n"))
}

// helpCommand is cobra's, except that a topic that does not exist is a usage error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show how a command is used",
		GroupID: groupShell,
		Args:    arguments(0, 1),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range cmd.Root().Commands() {
				if shown(c) {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			commands := cmd.Root().Commands()
			if len(args) == 0 {
				return cmd.Root().Help()
			}
			at := slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == args[0] })
			if at < 0 {
				return unknownCommand(cmd.Root(), args[0])
			}
			return commands[at].Help()
		},
	}
}
