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
shell. Packages install it; without a package:

  bash   impermanence completion bash | sudo tee /usr/share/bash-completion/completions/impermanence
  zsh    impermanence completion zsh | sudo tee /usr/share/zsh/site-functions/_impermanence
  fish   impermanence completion fish | sudo tee /usr/share/fish/vendor_completions.d/impermanence.fish`,
		Args:                  arguments(1, 1),
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
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
