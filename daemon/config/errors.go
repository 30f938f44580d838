package config

import (
	"fmt"
	"strings"
)

// Error is one problem of the configuration.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 when the problem has no place
	Key          string // the full key: persistence."/persist".directories
	Message      string // what is wrong
	Hint         string // what to write instead
}

// Error gives file:line: key: message; hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	fmt.Fprintf(&b, ": %s", e.Message)
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Errors are all problems of a configuration, in the order of files and lines.
type Errors []*Error

// Error gives one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, problem := range e {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}
