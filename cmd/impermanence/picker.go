package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/clipperhouse/displaywidth"

	"github.com/impermanence/impermanence/dbus"
)

// mark is what is to be done with a loss.
type mark string

// The marks, by the letter that they are shown as.
const (
	unmarked    mark = " "
	markPersist mark = "p"
	markIgnore  mark = "i"
)

// picker is the full-screen list of losses, in which one marks what to persist and what to ignore. It decides nothing but
// what is shown, and does nothing.
type picker struct {
	out           output
	top           *treeNode
	now           time.Time
	view          func(p string) *exec.Cmd // shows a file
	rows          []*pick                  // what is visible of the tree
	open          map[*treeNode]bool
	marks         map[string]mark // by path
	cursor, first int             // rows: where the cursor is, and the first one on the screen
	width, height int
	said          string // of what went wrong
	accepted      bool   // what is marked is to be done
	left          bool
}

// pick is a visible row.
type pick struct {
	node  *treeNode
	name  string // with the names above it that have nothing else
	path  string // absolute
	depth int
}

func newPicker(out output, top *treeNode, now time.Time, view func(string) *exec.Cmd) *picker {
	p := &picker{out: out, top: top, now: now, view: view, open: map[*treeNode]bool{}, marks: map[string]mark{}, width: out.width, height: 24}
	p.unfold()
	return p
}

// unfold makes the rows anew: of each directory that is open, what is in it.
func (p *picker) unfold() {
	p.rows = nil
	if len(p.top.changes) > 0 { // of the root itself
		own := &treeNode{name: "/", changes: p.top.changes}
		for _, c := range own.changes {
			own.add(c)
		}
		p.rows = append(p.rows, &pick{node: own, name: own.name, path: "/"})
	}
	for _, child := range p.top.sorted() {
		p.show(child, "", 0)
	}
	p.move(0)
}

func (p *picker) show(n *treeNode, above string, depth int) {
	row := &pick{node: n, name: n.name, path: above + "/" + n.name, depth: depth}
	for len(row.node.changes) == 0 && len(row.node.children) == 1 {
		only := row.node.sorted()[0]
		row.node, row.name, row.path = only, row.name+"/"+only.name, row.path+"/"+only.name
	}
	p.rows = append(p.rows, row)
	if p.open[row.node] {
		for _, child := range row.node.sorted() {
			p.show(child, row.path, depth+1)
		}
	}
}

// resize takes the size of the terminal, in columns and lines.
func (p *picker) resize(width, height int) {
	p.width, p.height = width, height
	p.move(0)
}

// key does what a key means, and returns a program that is to have the terminal, if any. What is left with q is forgotten.
func (p *picker) key(key string) *exec.Cmd {
	switch key {
	case "q", "esc", "ctrl+c":
		p.left = true
	case "a":
		p.accepted, p.left = true, true
	case "up", "k":
		p.move(-1)
	case "down", "j":
		p.move(1)
	case "pgup":
		p.move(-p.page())
	case "pgdown":
		p.move(p.page())
	case "home", "g":
		p.move(-len(p.rows))
	case "end", "G":
		p.move(len(p.rows))
	case "right":
		p.fold(true)
	case "left":
		p.fold(false)
	case "p":
		p.set(markPersist)
	case "i":
		p.set(markIgnore)
	case "u":
		p.set(unmarked)
	case "enter", "l":
		return p.look()
	}
	return nil
}

// page is how many rows there is room for: four lines are about other things.
func (p *picker) page() int { return max(1, p.height-4) }

// move moves the cursor, as far as there are rows, and what is on the screen with it.
func (p *picker) move(by int) {
	p.cursor = max(0, min(p.cursor+by, len(p.rows)-1))
	p.first = max(0, min(p.first, p.cursor, max(0, len(p.rows)-p.page())), p.cursor-p.page()+1)
}

func (p *picker) fold(open bool) {
	row := p.rows[p.cursor]
	if !open && !p.open[row.node] { // to the directory that it is in
		for p.cursor > 0 && p.rows[p.cursor].depth >= row.depth && row.depth > 0 {
			p.cursor--
		}
	}
	p.open[p.rows[p.cursor].node] = open
	p.unfold()
}

// set marks the row, or takes its mark away when it has it, and goes to the next.
func (p *picker) set(m mark) {
	path := p.rows[p.cursor].path
	if path == "/" {
		p.said = "the root itself can be neither kept nor ignored"
		return
	}
	if p.marks[path] == m || m == unmarked {
		delete(p.marks, path)
	} else {
		p.marks[path] = m
	}
	p.move(1)
}

// look opens a directory, and shows a file.
func (p *picker) look() *exec.Cmd {
	row := p.rows[p.cursor]
	if len(row.node.children) > 0 {
		p.fold(!p.open[row.node])
		return nil
	}
	for _, c := range row.node.changes {
		if c.Type == "file" && c.Change != "deleted" {
			return p.view(row.path)
		}
	}
	p.said = "there is no file to look at"
	return nil
}

// marked returns the paths with a mark, sorted.
func (p *picker) marked(m mark) []string {
	var paths []string
	for path, is := range p.marks {
		if is == m {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// View is the whole screen.
func (p *picker) View() string {
	var b strings.Builder
	line := func(s style, text string) {
		b.WriteString(p.out.paint(s, displaywidth.TruncateString(text, p.width, p.out.ellipsis())) + "\n")
	}
	line(bold, p.top.summary(true))
	for i := p.first; i < min(p.first+p.page(), len(p.rows)); i++ {
		row, s := p.line(p.rows[i]), plain
		if i == p.cursor {
			row, s = pad(row, p.width), inverse
		}
		line(s, row)
	}
	for i := len(p.rows) - p.first; i < p.page(); i++ {
		line(plain, "")
	}
	line(faint, p.about(p.rows[p.cursor]))
	persists, ignores := len(p.marked(markPersist)), len(p.marked(markIgnore))
	line(plain, fmt.Sprintf("%d to persist, %d to ignore", persists, ignores))
	keys := "p persist  i ignore  u unmark  Enter look  arrows move  a apply  q leave"
	if p.said != "" {
		keys = p.out.text(p.said)
	}
	b.WriteString(p.out.paint(faint, displaywidth.TruncateString(keys, p.width, p.out.ellipsis())))
	return b.String()
}

// line is a row as text.
func (p *picker) line(row *pick) string {
	m, seen := p.marks[row.path]
	if !seen {
		m = unmarked
	}
	kind := ""
	if len(row.node.changes) > 0 {
		kind = markOf(row.node.changes[0].Change).text
	}
	name := row.name
	if p.directory(row.path) {
		name += "/"
	}
	return fmt.Sprintf("[%s] %-1s %6s %9s  %s%s %s", m, kind, age(row.node.newest(), p.now), size(row.node.bytes),
		strings.Repeat("  ", row.depth), p.foldMark(row), p.out.text(name))
}

// foldMark says whether a directory is open.
func (p *picker) foldMark(row *pick) string {
	marks := []string{"▸", "▾"}
	if p.out.ascii {
		marks = []string{">", "v"}
	}
	switch {
	case len(row.node.children) == 0:
		return " "
	case p.open[row.node]:
		return marks[1]
	default:
		return marks[0]
	}
}

// about says of a row what there is to say.
func (p *picker) about(row *pick) string {
	words := []string{p.out.text(row.path)}
	for _, c := range row.node.changes {
		text := c.Change + " " + c.Type
		if more := what(withoutType(c)); more != "" {
			text += ", " + p.out.text(more)
		}
		words = append(words, text+fmt.Sprintf(", mode %04o, owner %d:%d", c.Mode, c.UID, c.GID))
	}
	if n := row.node.count - len(row.node.changes); n > 0 {
		words = append(words, count(n, "loss")+" in it")
	}
	return strings.Join(words, ": ")
}

// withoutType is a change of which the type is said already.
func withoutType(c dbus.FileChange) dbus.FileChange {
	c.Type = "file"
	return c
}
