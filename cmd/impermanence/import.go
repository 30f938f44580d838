package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/daemon/config"
)

// largestImport bounds what is read.
const largestImport = 16 << 20

// importCommand rewrites the configuration of the NixOS modules. It needs no daemon.
func (a *app) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "import FILE",
		SuggestFor: []string{"convert", "migrate"},
		Short:      "Rewrite the configuration of the modules impermanence and preservation",
		Long: `Read the evaluated configuration of nix-community/impermanence (its home-manager
part too) or of preservation as JSON from FILE, or from standard input when that
is "-", and print the same as TOML for /etc/impermanence/conf.d. What can't be
carried over is named on standard error, and the exit code is 3.`,
		Example: `  nix eval --json .#nixosConfigurations.HOST.config.environment.persistence |
    impermanence import -`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.imported(args[0], cmd.InOrStdin()) },
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) imported(name string, stdin io.Reader) error {
	data, err := readImport(name, stdin)
	if err != nil {
		return err
	}
	toml, left, err := config.Import(data)
	if err != nil && len(toml) == 0 {
		return &advised{fmt.Errorf("import %s: %w", name, err), "nix eval --json .#nixosConfigurations.HOST.config.environment.persistence"}
	}
	if a.json {
		if err := a.stdout.document(importDocument{string(toml), list(left)}); err != nil {
			return err
		}
	} else if _, err := a.stdout.w.Write(toml); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	for _, what := range left {
		a.stderr.line("not carried over: %s", a.stderr.text(what))
	}
	switch {
	case err != nil:
		return &advised{fmt.Errorf("import %s: %w", name, err), "man 5 impermanence.toml"}
	case len(left) > 0:
		return &advised{fmt.Errorf("import %s: %w: %d settings are not carried over", name, errPartly, len(left)), "man 5 impermanence.toml"}
	}
	return nil
}

// readImport reads a file, or standard input for "-".
func readImport(name string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, largestImport+1))
	if err == nil && len(data) > largestImport {
		err = fmt.Errorf("longer than %d bytes", largestImport)
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", name, err)
	}
	return data, nil
}
