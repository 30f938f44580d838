package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unknownCommand advises the command that does what name may mean, or is spelled most like it.
func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	meant := ""
	for _, c := range cmd.Commands() {
		if !shown(c) {
			continue
		}
		names = append(names, c.Name())
		if slices.Contains(c.SuggestFor, name) {
			meant = c.Name()
		}
	}
	meant = cmp.Or(meant, nearest(name, names), "--help")
	return &usageError{fmt.Errorf("unknown command %q", name), cmd.CommandPath() + " " + meant}
}

// flagError says what is wrong with an option, and advises the option that is spelled most like it.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var wrong *pflag.InvalidValueError
	if errors.As(err, &wrong) {
		return wrongValue(cmd, wrong)
	}
	try := cmd.CommandPath() + " --help"
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			try = cmd.CommandPath() + " --" + near
		}
	}
	return &usageError{err, try}
}

// nearest returns the one of names that is spelled most like a word, "" when none is.
func nearest(word string, names []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, name := range names {
		d := distance(word, name)
		if len(word) > 1 && strings.HasPrefix(name, word) {
			d = 0
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
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
