package main

import (
	"fmt"
	"io"
)

// logger writes lines with the priority that the journal reads from "<N>" at their beginning, when the journal reads them.
type logger struct {
	w       io.Writer
	journal bool
}

func newLogger(w io.Writer, journal bool) *logger { return &logger{w, journal} }

func (l *logger) error(format string, args ...any)   { l.write(3, "error: ", format, args) }
func (l *logger) warning(format string, args ...any) { l.write(4, "warning: ", format, args) }
func (l *logger) info(format string, args ...any)    { l.write(6, "", format, args) }

func (l *logger) write(priority int, word, format string, args []any) {
	prefix := "impermanence: " + word
	if l.journal {
		prefix = fmt.Sprintf("<%d>%s", priority, word)
	}
	_, _ = fmt.Fprintf(l.w, prefix+format+"\n", args...)
}
