package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/daemon/check"
)

// checkCommand says what is wrong with a machine.
func (a *app) checkCommand() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:        "check",
		SuggestFor: []string{"doctor", "verify", "diagnose"},
		Short:      "Say what is wrong with the machine's set-up, each with the fix",
		Long: `Look at the configuration, subvolumes, kernel command lines, fstab, initrds,
units, volumes, template, kernels and package database, and say what does not
fit together, each with what to do about it. It needs no daemon, and changes
nothing. An error makes the exit status 1; a warning does not.

Elsewhere than on a terminal the columns are: level (error or warning), id,
what is wrong, what to do.`,
		Example: `  sudo impermanence check
  sudo impermanence check --json | jq -r '.findings[].id'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.apart(cmd.Context(), func() error { return a.check(cmd.Context(), root) })
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&root, "root", "/", "check the machine whose root is mounted at `DIR`")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) check(ctx context.Context, root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	facts, err := check.Gather(ctx, root)
	if err != nil {
		return err
	}
	findings := check.Judge(facts)
	if a.json {
		err = a.stdout.document(newCheckDocument(findings))
	} else {
		a.stdout.findings(findings)
	}
	wrong := 0
	for _, f := range findings {
		if f.Level == check.Error {
			wrong++
		}
	}
	switch {
	case err != nil:
		return err
	case wrong == 1:
		return fmt.Errorf("check: 1 thing is wrong")
	case wrong > 1:
		return fmt.Errorf("check: %d things are wrong", wrong)
	case len(findings) == 0:
		a.notice("nothing is wrong")
	}
	return nil
}

// findings prints what is wrong: for people each with what to do below it.
func (o output) findings(findings []check.Finding) {
	var rows [][]cell
	for _, f := range findings {
		look := yellow
		if f.Level == check.Error {
			look = red
		}
		if o.terminal {
			o.topic(cell{string(f.Level), look}, cell{text: f.What})
			o.topic(cell{"  try", plain}, cell{text: f.Try, style: bold})
		}
		rows = append(rows, []cell{{text: string(f.Level)}, {text: f.ID}, {text: f.What}, {text: f.Try}})
	}
	if !o.terminal {
		o.table(nil, rows)
	}
}

// checkDocument is what `check` prints.
type checkDocument struct {
	Findings []findingDocument `json:"findings"` // the worst first
}

// findingDocument is something that is wrong.
type findingDocument struct {
	ID    string `json:"id"`
	Level string `json:"level"` // "error" or "warning"
	What  string `json:"what"`
	Try   string `json:"try"`
}

func newCheckDocument(findings []check.Finding) checkDocument {
	d := checkDocument{Findings: []findingDocument{}}
	for _, f := range findings {
		d.Findings = append(d.Findings, findingDocument{f.ID, string(f.Level), f.What, f.Try})
	}
	return d
}
