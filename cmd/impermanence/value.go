package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// given is an option's value, read when it is given: without the option nothing is stored.
type given[T any] struct {
	to    **T
	parse func(text string) (T, error)
	right string // a text that is
}

func (g given[T]) Set(text string) error {
	value, err := g.parse(text)
	if err == nil {
		*g.to = &value
	}
	return err
}

func (g given[T]) String() string  { return "" }
func (g given[T]) Type() string    { return "given" }
func (g given[T]) example() string { return g.right }

// word is an option's value that is one of a few words.
type word struct {
	to    *string
	known []string
}

func (w word) Set(text string) error {
	if !slices.Contains(w.known, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(w.known, ", "))
	}
	*w.to = text
	return nil
}

func (w word) String() string  { return "" }
func (w word) Type() string    { return "word" }
func (w word) example() string { return w.known[0] }

// addWord adds an option whose value is one of a few words, which shells complete.
func addWord(cmd *cobra.Command, to *string, name, usage string, known ...string) {
	cmd.Flags().Var(word{to, known}, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(known, cobra.ShellCompDirectiveNoFileComp))
}

// wrongValue says what is wrong with an option's value, and advises one that is right.
func wrongValue(cmd *cobra.Command, wrong *pflag.InvalidValueError) error {
	f, err := wrong.GetFlag(), wrong.Unwrap()
	try := cmd.CommandPath() + " --" + f.Name
	switch v := f.Value.(type) {
	case interface{ example() string }:
		try += " " + v.example()
	case pflag.SliceValue:
		err = fmt.Errorf("%q is neither a NAME nor names with commas between them", wrong.GetValue())
		try = cmd.CommandPath() + " --help"
	default:
		err = fmt.Errorf("%q is neither true nor false", wrong.GetValue())
	}
	return &usageError{fmt.Errorf("%s: --%s: %w", cmd.Name(), f.Name, err), try}
}
