package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// bashWithoutPackage makes cobra's script work in a bash that lacks the package bash-completion, as on a small system.
const bashWithoutPackage = `
__impermanence_init_completion()
{
    COMPREPLY=()
    if declare -F _get_comp_words_by_ref >/dev/null 2>&1; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=("")
    cword=$((${#words[@]} - 1))
    cur=${words[cword]}
    prev=${words[cword - 1]-}
}
`

// withoutFiles has no file completed where an option of a command, or of one below it, takes something else.
func withoutFiles(cmd *cobra.Command) {
	register := func(f *pflag.Flag) {
		switch name, _ := pflag.UnquoteUsage(f); name {
		case "FILE", "DIR", "DIRECTORY", "DEV", "DEVICE":
		default:
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions) // an error means that it has its own
		}
	}
	cmd.Flags().VisitAll(register)
	cmd.PersistentFlags().VisitAll(register)
	for _, c := range cmd.Commands() {
		withoutFiles(c)
	}
}

// completionCommand prints the completion script of a shell; packages install what it prints.
func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the completion script of a shell",
		Long: `Print the script that completes commands, options, roots and entries in a
shell. Packages install it. For one session without a package:

  bash   source <(impermanence completion bash)
  zsh    source <(impermanence completion zsh)
  fish   impermanence completion fish | source`,
		Args:      arguments(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				if err := root.GenBashCompletionV2(w, true); err != nil {
					return err
				}
				_, err := io.WriteString(w, bashWithoutPackage)
				return err
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			default:
				return &usageError{fmt.Errorf("completion: %q is none of bash, zsh and fish", args[0]), cmd.CommandPath() + " bash"}
			}
		},
	}
}
