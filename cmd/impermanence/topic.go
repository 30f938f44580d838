package main

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// topicWidth is the width of the column of topics.
const topicWidth = 12

// topic prints a topic and beside it lines, each wrapped to the width of the terminal.
func (o output) topic(name cell, lines ...cell) {
	lead := o.paint(name.style, pad(name.text, topicWidth))
	for _, line := range lines {
		for _, piece := range wrap(o.text(line.text), o.width-topicWidth) {
			o.line("%s%s", lead, o.paint(line.style, piece))
			lead = strings.Repeat(" ", topicWidth)
		}
	}
}

// wrap divides text at spaces into pieces of at most so many columns; a longer word stays whole. A width that is not
// positive is unlimited.
func wrap(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	var pieces []string
	piece := ""
	for word := range strings.SplitSeq(text, " ") {
		switch {
		case piece == "":
			piece = word
		case displaywidth.String(piece)+1+displaywidth.String(word) <= width:
			piece += " " + word
		default:
			pieces = append(pieces, piece)
			piece = word
		}
	}
	return append(pieces, piece)
}

// pad fills text up with spaces to a width.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-displaywidth.String(text)))
}
