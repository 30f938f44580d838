package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

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
				return root.GenBashCompletionV2(w, true)
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
