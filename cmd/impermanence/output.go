package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// The rules of output, which every command keeps by printing only through what stands in this file and in table.go:
//
//   - What was asked for goes to standard output; everything else goes to standard error: errors, advice, notices, progress.
//   - On a terminal: tables with headings, color, times as people say them. Columns are left out or cut where the width
//     does not suffice, but what one would type or copy, such as a name, is never cut.
//   - Elsewhere: one line per thing, all columns, a tab between them, no headings, no color, times in RFC 3339 and UTC.
//   - With --json: one JSON document, the same on a terminal and elsewhere. Names of fields are never changed or removed.
//   - A character that a terminal would act on, or not show, is escaped in text, and never left out. JSON has it as it is.
//   - An error is one line that begins with "error:", and what to type next is one more that begins with "try:".
//   - Nothing is printed to say that nothing happened, except where someone waits for an answer.

// output writes text to one of the two standard streams.
type output struct {
	w        io.Writer
	terminal bool // a person reads it at once
	control  bool // the terminal understands control sequences
	color    bool
	ascii    bool // the terminal shows ASCII only
	width    int  // columns of the terminal, 0 when unlimited
}

// getenv looks an environment variable up; "" when it is not set.
type getenv func(name string) string

// defaultWidth is the width in columns of a terminal that does not tell its own.
const defaultWidth = 80

// newOutput returns the output to f, formatted as f and the environment ask.
func newOutput(f *os.File, env getenv) output {
	o := output{w: f, terminal: term.IsTerminal(int(f.Fd()))}
	if !o.terminal {
		return o
	}
	o.control = env("TERM") != "dumb"
	o.color = o.control && env("NO_COLOR") == ""
	o.ascii = !utf8Locale(env)
	o.width = terminalWidth(f, env)
	return o
}

// to returns the output with another writer beneath it.
func (o output) to(w io.Writer) output {
	o.w = w
	return o
}

// checked keeps the first error of writing, so that a full disk is not taken for success.
type checked struct {
	w   io.Writer
	err error
}

// beneath returns the stream itself, for a program that looks whether it is a terminal.
func (o output) beneath() io.Writer {
	if c, ok := o.w.(*checked); ok {
		return c.w
	}
	return o.w
}

func (c *checked) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("write output: %w", err)
	}
	return n, err
}

// terminalWidth returns COLUMNS when it is set, as ls and man do, else what the terminal says.
func terminalWidth(f *os.File, env getenv) int {
	if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
		return n
	}
	return defaultWidth
}

// utf8Locale says whether the locale's characters are UTF-8, by the variables and in the order of locale(7).
func utf8Locale(env getenv) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := env(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// line prints one line.
func (o output) line(format string, args ...any) {
	fmt.Fprintf(o.w, format+"\n", args...)
}

// style is how a piece of text looks on a terminal, as the parameter of the control sequence SGR.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"

	inverse style = "7"
)

// paint returns text in a style where the output has colors, else as it is.
func (o output) paint(s style, text string) string {
	if !o.color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// text returns s as it may be printed: with every character escaped, as Go writes it, that does not simply appear.
func (o output) text(s string) string {
	if strings.IndexFunc(s, o.hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case o.hidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

// hidden says whether a terminal would act on r, or show nothing for it, or something else.
func (o output) hidden(r rune) bool {
	return !unicode.IsPrint(r) || o.ascii && r > unicode.MaxASCII
}

// ellipsis stands where text was cut.
func (o output) ellipsis() string {
	if o.ascii {
		return "..."
	}
	return "…"
}
