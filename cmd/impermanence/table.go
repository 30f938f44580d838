package main

import (
	"bufio"
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// column is one column of a table.
type column struct {
	heading string
	right   bool // numbers stand at the right
	drop    int  // where the width does not suffice the column with the highest goes first; 0 stays
	cut     bool // may be cut short
	wrap    bool // the last one, if at all: wraps beside the others, or stands below them where there is too little room
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
	buffer := bufio.NewWriter(o.w)        // a write for each row would cost more than the row
	defer func() { _ = buffer.Flush() }() // what is beneath it keeps the error
	o = o.to(buffer)
	rows = o.escaped(rows)
	if !o.terminal {
		o.tabbed(rows)
		return
	}
	l := o.layOut(columns, rows)
	headings := make([]cell, len(columns))
	for i, c := range columns {
		headings[i] = cell{c.heading, faint}
	}
	o.row(l, headings)
	for _, row := range rows {
		o.row(l, row)
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

// layout is how the columns of a table share the width of a terminal.
type layout struct {
	columns []column
	widths  []int // of each column, 0 when it is empty in every row
	shown   []int // the columns that there is room for
	last    int   // the column that wraps, -1 for none
	room    int   // for the column that wraps, 0 when it stands below its row
}

const (
	leastCut  = 16 // columns of text that say something; another column goes before one is cut shorter
	leastRoom = 16 // columns for text that wraps; below that it stands below its row
	indent    = 4  // of what stands below its row
)

// layOut chooses the columns that the terminal has room for, and their widths.
func (o output) layOut(columns []column, rows [][]cell) *layout {
	l := &layout{columns: columns, widths: make([]int, len(columns)), last: -1}
	for i, c := range columns {
		for _, row := range rows {
			l.widths[i] = max(l.widths[i], displaywidth.String(row[i].text))
		}
		switch {
		case l.widths[i] == 0 && (c.drop > 0 || c.wrap):
			continue // nothing to show
		case c.wrap:
			l.last = i
		default:
			l.shown = append(l.shown, i)
		}
		l.widths[i] = max(l.widths[i], displaywidth.String(c.heading))
	}
	if o.width > 0 {
		l.fit(o.width)
	}
	if l.last >= 0 {
		l.room = l.widths[l.last]
		if o.width > 0 {
			l.room = min(l.room, o.width-l.total()-len(gap))
		}
		if l.room < min(leastRoom, l.widths[l.last]) {
			l.room = 0
		}
	}
	return l
}

// fit leaves columns out, or cuts one, until the rest fits into a width.
func (l *layout) fit(width int) {
	for l.total() > width {
		excess := l.total() - width
		for _, i := range l.shown {
			if l.columns[i].cut && l.widths[i]-excess >= leastCut {
				l.widths[i] -= excess
				return
			}
		}
		next := l.droppable()
		if next < 0 {
			return
		}
		l.shown = append(l.shown[:next:next], l.shown[next+1:]...)
	}
}

// total is the width of a row without what wraps.
func (l *layout) total() int {
	sum := -len(gap)
	for _, i := range l.shown {
		sum += l.widths[i] + len(gap)
	}
	return sum
}

// droppable returns the place in shown of the column that goes next, -1 when all stay.
func (l *layout) droppable() int {
	found := -1
	for place, i := range l.shown {
		if l.columns[i].drop > 0 && (found < 0 || l.columns[i].drop > l.columns[l.shown[found]].drop) {
			found = place
		}
	}
	return found
}

// row prints a row, and what wraps of it beside or below.
func (o output) row(l *layout, row []cell) {
	var b strings.Builder
	for place, i := range l.shown {
		if place > 0 {
			b.WriteString(gap)
		}
		b.WriteString(o.fill(row[i], l.columns[i], l.widths[i]))
	}
	line := strings.TrimRight(b.String(), " ")
	if l.last < 0 || row[l.last].text == "" {
		o.line("%s", line)
		return
	}
	wrapped := row[l.last]
	start, room := l.total()+len(gap), l.room
	if room > 0 {
		line = b.String() + gap
	} else {
		o.line("%s", line)
		if wrapped.text == l.columns[l.last].heading {
			return // what stands below needs none
		}
		start, room = indent, o.width-indent
		line = strings.Repeat(" ", indent)
	}
	for _, piece := range wrap(wrapped.text, room) {
		o.line("%s%s", line, o.paint(wrapped.style, piece))
		line = strings.Repeat(" ", start)
	}
}

// fill returns a cell as wide as its column.
func (o output) fill(c cell, in column, width int) string {
	if in.cut {
		c.text = displaywidth.TruncateString(c.text, width, o.ellipsis())
	}
	space := strings.Repeat(" ", max(0, width-displaywidth.String(c.text)))
	if in.right {
		return space + o.paint(c.style, c.text)
	}
	return o.paint(c.style, c.text) + space
}
