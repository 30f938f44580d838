package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// treeNode is a name in the tree of differences.
type treeNode struct {
	name     string
	changes  []dbus.FileChange // at this path: two where a directory and a file took each other's place
	children map[string]*treeNode
	tally
}

// tally counts differences.
type tally struct {
	count int
	bytes uint64 // of what the root has, or has more than once for what is deleted
	kinds map[string]int
}

func (t *tally) add(c dbus.FileChange) {
	if t.kinds == nil {
		t.kinds = map[string]int{}
	}
	t.count++
	t.kinds[c.Change]++
	t.bytes += c.Size
}

// insert puts a difference into the tree below n; rest is what of its path is below n.
func (n *treeNode) insert(rest string, c dbus.FileChange) {
	n.add(c)
	if rest == "" {
		n.changes = append(n.changes, c)
		return
	}
	name, below, _ := strings.Cut(rest, "/")
	child := n.children[name]
	if child == nil {
		child = &treeNode{name: name}
		if n.children == nil {
			n.children = map[string]*treeNode{}
		}
		n.children[name] = child
	}
	child.insert(below, c)
}

// uniform returns the one kind of all differences at n and below, when n is a directory that is all new or gone.
func (n *treeNode) uniform() (string, bool) {
	if len(n.changes) != 1 || n.changes[0].Type != "directory" {
		return "", false
	}
	kind := n.changes[0].Change
	return kind, (kind == "added" || kind == "deleted") && n.kinds[kind] == n.count
}

// sorted returns the children by name.
func (n *treeNode) sorted() []*treeNode {
	list := make([]*treeNode, 0, len(n.children))
	for _, child := range n.children {
		list = append(list, child)
	}
	slices.SortFunc(list, func(a, b *treeNode) int { return strings.Compare(a.name, b.name) })
	return list
}

// collect reads the differences into a tree.
func collect(ctx context.Context, results *dbus.Results[dbus.FileChange]) (*treeNode, error) {
	top := &treeNode{}
	for c, err := range results.All(ctx) {
		if err != nil {
			return nil, err
		}
		top.insert(strings.TrimPrefix(string(c.Path), "/"), c)
	}
	return top, nil
}

// diffTree prints the differences for people, by directories.
func (a *app) diffTree(ctx context.Context, results *dbus.Results[dbus.FileChange], q question, all bool) error {
	top, err := collect(ctx, results)
	if err != nil {
		return err
	}
	if top.count == 0 {
		a.notice(q.nothing())
		return nil
	}
	rows := treeRows{all: all, now: time.Now()}
	rows.add(top, "/", 0)
	a.stdout.table([]column{
		{}, {heading: "PATH"}, {heading: "SIZE", right: true, drop: 2}, {heading: "AGE", right: true, drop: 1}, {heading: "WHAT", wrap: true},
	}, rows.rows)
	a.stdout.line("\n%s", top.summary(len(q.roots) == 0))
	return nil
}

// nothing says that there is nothing to show.
func (q question) nothing() string {
	if len(q.roots) > 0 {
		return "nothing differs"
	}
	return "nothing: the next boot loses nothing that is not ignored"
}

// summary says in a line what the differences come to.
func (t *tally) summary(losses bool) string {
	noun := "difference"
	if losses {
		noun = "loss"
	}
	text := count(t.count, noun) + ", " + size(t.bytes)
	separator := ": "
	for _, kind := range []string{"added", "changed", "metadata", "renamed", "deleted"} {
		if n := t.kinds[kind]; n > 0 {
			text += fmt.Sprintf("%s%d %s", separator, n, kind)
			separator = ", "
		}
	}
	return text
}

// treeRows are the rows of the table that shows a tree.
type treeRows struct {
	all  bool
	now  time.Time
	rows [][]cell
}

// add adds the rows of a node that is shown as name.
func (t *treeRows) add(n *treeNode, name string, depth int) {
	for len(n.changes) == 0 && len(n.children) == 1 { // nothing happened up to there
		only := n.sorted()[0]
		n, name = only, strings.TrimSuffix(name, "/")+"/"+only.name
	}
	lead := strings.Repeat("  ", depth)
	if kind, uniform := n.uniform(); uniform && !t.all && n.count > 1 {
		t.rows = append(t.rows, []cell{
			markOf(kind), {text: lead + name + "/"}, {text: size(n.bytes)}, {text: age(n.newest(), t.now)}, {text: "directory of " + count(n.count-1, "thing")},
		})
		return
	}
	for _, c := range n.changes {
		t.rows = append(t.rows, t.row(c, lead+name))
	}
	if len(n.changes) == 0 {
		t.rows = append(t.rows, []cell{{}, {text: strings.TrimSuffix(lead+name, "/") + "/", style: bold}, {text: size(n.bytes), style: faint}, {}, {text: fmt.Sprint(n.count), style: faint}})
	}
	for _, child := range n.sorted() {
		t.add(child, child.name, depth+1)
	}
}

// newest returns when something at a node or below was changed last.
func (n *treeNode) newest() (last time.Time) {
	for _, c := range n.changes {
		if c.Changed.After(last) {
			last = c.Changed
		}
	}
	for _, child := range n.children {
		if at := child.newest(); at.After(last) {
			last = at
		}
	}
	return last
}

// row is the row of one difference.
func (t *treeRows) row(c dbus.FileChange, name string) []cell {
	if c.Type == "directory" {
		name = strings.TrimSuffix(name, "/") + "/"
	}
	shown := size(c.Size)
	if c.Type == "directory" || c.Link {
		shown = ""
	}
	return []cell{markOf(c.Change), {text: name}, {text: shown}, {text: age(c.Changed, t.now)}, {text: what(c), style: whatStyle(c)}}
}

// markOf is the mark of a kind of difference.
func markOf(kind string) cell {
	switch kind {
	case "added":
		return cell{"+", green}
	case "deleted":
		return cell{"-", red}
	case "renamed":
		return cell{">", yellow}
	case "metadata":
		return cell{"@", yellow}
	default:
		return cell{"*", yellow}
	}
}

// whatStyle makes little of what is ignored.
func whatStyle(c dbus.FileChange) style {
	if c.Rule != "" {
		return faint
	}
	return plain
}

// what says in a few words what there is to say of a difference.
func what(c dbus.FileChange) string {
	var words []string
	if c.Type != "file" && c.Type != "directory" {
		words = append(words, c.Type)
	}
	if c.Link {
		words = append(words, "another name")
	}
	if c.From != "" {
		words = append(words, "was "+string(c.From))
	}
	if c.Before != nil {
		words = append(words, differences(c)...)
	}
	if c.Rule != "" {
		words = append(words, "ignored by "+c.Rule)
	}
	return strings.Join(words, "; ")
}

// differences says what each aspect that differs was.
func differences(c dbus.FileChange) []string {
	var words []string
	for _, aspect := range c.Aspects {
		switch b := c.Before; {
		case aspect == "content" && c.Size != b.Size && !c.Link:
			words = append(words, "was "+size(b.Size))
		case aspect == "type":
			words = append(words, "was a "+b.Type)
		case aspect == "mode":
			words = append(words, fmt.Sprintf("mode %04o, was %04o", c.Mode, b.Mode))
		case aspect == "owner":
			words = append(words, fmt.Sprintf("owner %d:%d, was %d:%d", c.UID, c.GID, b.UID, b.GID))
		default:
			words = append(words, aspect)
		}
	}
	return words
}
