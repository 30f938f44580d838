package main

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// column is one column of a table.
type column struct {
	heading string
	right   bool // numbers stand at the right
	drop    int  // where the width does not suffice the column with the highest goes first; 0 stays
	cut     bool // may be cut short where even that does not suffice
}

// cell is one place of a table.
type cell struct {
	text  string
	style style
}

// gap is the space between two columns on a terminal.
const gap = "  "

// table prints rows below columns, as the rules of output say. Every row has one cell per column.
func (o output) table(columns []column, rows [][]cell) {
	rows = o.escaped(rows)
	if !o.terminal {
		o.tabbed(rows)
		return
	}
	widths := columnWidths(columns, rows)
	shown := o.fit(columns, widths)
	o.row(shown, widths, func(i int) cell { return cell{columns[i].heading, faint} }, columns)
	for _, row := range rows {
		o.row(shown, widths, func(i int) cell { return row[i] }, columns)
	}
}

// escaped returns the rows with every text as it may be printed.
func (o output) escaped(rows [][]cell) [][]cell {
	safe := make([][]cell, len(rows))
	for i, row := range rows {
		safe[i] = make([]cell, len(row))
		for j, c := range row {
			safe[i][j] = cell{o.text(c.text), c.style}
		}
	}
	return safe
}

// tabbed prints the rows for programs.
func (o output) tabbed(rows [][]cell) {
	for _, row := range rows {
		texts := make([]string, len(row))
		for i, c := range row {
			texts[i] = c.text
		}
		o.line("%s", strings.Join(texts, "\t"))
	}
}

// columnWidths returns the width of each column in columns of the terminal; 0 for one that is empty in every row.
func columnWidths(columns []column, rows [][]cell) []int {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], displaywidth.String(c.text))
		}
	}
	for i, c := range columns {
		if widths[i] > 0 || c.drop == 0 {
			widths[i] = max(widths[i], displaywidth.String(c.heading))
		}
	}
	return widths
}

// fit chooses the columns that the terminal has room for, and narrows in widths the one that may be cut.
func (o output) fit(columns []column, widths []int) []int {
	var shown []int
	for i := range columns {
		if widths[i] > 0 {
			shown = append(shown, i)
		}
	}
	for o.width > 0 && total(shown, widths) > o.width {
		if i, ok := narrowable(shown, columns, widths, total(shown, widths)-o.width); ok {
			widths[i] -= total(shown, widths) - o.width
			break
		}
		last := droppable(shown, columns)
		if last < 0 {
			break
		}
		shown = append(shown[:last:last], shown[last+1:]...)
	}
	return shown
}

// total is the width of a row.
func total(shown, widths []int) int {
	sum := -len(gap)
	for _, i := range shown {
		sum += widths[i] + len(gap)
	}
	return sum
}

// leastCut is the width below which a text that is cut says nothing any more.
const leastCut = 8

// narrowable returns the column that may be cut by excess and still says something.
func narrowable(shown []int, columns []column, widths []int, excess int) (int, bool) {
	for _, i := range shown {
		if columns[i].cut && widths[i]-excess >= max(leastCut, len(columns[i].heading)) {
			return i, true
		}
	}
	return 0, false
}

// droppable returns the place in shown of the column that goes next, -1 when all stay.
func droppable(shown []int, columns []column) int {
	found := -1
	for place, i := range shown {
		if columns[i].drop > 0 && (found < 0 || columns[i].drop > columns[shown[found]].drop) {
			found = place
		}
	}
	return found
}

// row prints one line of a table; the last column is not padded.
func (o output) row(shown, widths []int, at func(i int) cell, columns []column) {
	var b strings.Builder
	for place, i := range shown {
		c := at(i)
		if columns[i].cut {
			c.text = displaywidth.TruncateString(c.text, widths[i], o.ellipsis())
		}
		space := strings.Repeat(" ", max(0, widths[i]-displaywidth.String(c.text)))
		if columns[i].right {
			b.WriteString(space + o.paint(c.style, c.text))
		} else {
			b.WriteString(o.paint(c.style, c.text) + space)
		}
		if place < len(shown)-1 {
			b.WriteString(gap)
		}
	}
	o.line("%s", strings.TrimRight(b.String(), " "))
}

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
