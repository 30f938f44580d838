package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// tableOrigin says how TOML made a table, which decides what may be added to it later.
type tableOrigin uint8

const (
	implied    tableOrigin = iota // on the way to another: [a.b] implies a; its own header may follow
	headed                        // by its header [a]: a second header is an error
	dotted                        // by a dotted key a.b = 1: only dotted keys of the same table add to it
	written                       // inline {…}, or a plain array: closed
	arrayTable                    // an array made by [[a]]: more [[a]] add to it
)

// tomlReader builds a tree of values from the parser's expressions. The parser gives every expression its place in the
// file, which decoding into structs would lose.
type tomlReader struct {
	parser unstable.Parser
	lines  lineIndex
	root   *value
	table  *value // what key = value lines go into
}

// readTOML parses a TOML document. Its error is Errors.
func readTOML(name string, data []byte) (*value, error) {
	r := &tomlReader{lines: newLineIndex(name, data)}
	r.root = newTable(position{file: name, line: 1, column: 1})
	r.root.origin = headed
	r.table = r.root
	r.parser.Reset(data)
	for r.parser.NextExpression() {
		if err := r.expression(r.parser.Expression()); err != nil {
			return nil, Errors{err}
		}
	}
	if err := r.parser.Error(); err != nil {
		return nil, Errors{r.syntaxError(err)}
	}
	return r.root, nil
}

// syntaxError places an error of the parser.
func (r *tomlReader) syntaxError(err error) *Error {
	problem := &Error{File: r.lines.file, Message: err.Error()}
	var parse *unstable.ParserError
	if errors.As(err, &parse) {
		problem.Message = parse.Message
		if offset, ok := offsetIn(r.parser.Data(), parse.Highlight); ok {
			at := r.lines.position(offset)
			problem.Line, problem.Column = at.line, at.column
		}
	}
	problem.Message = "not TOML: " + strings.TrimPrefix(problem.Message, "toml: ")
	return problem
}

func (r *tomlReader) expression(node *unstable.Node) *Error {
	switch node.Kind {
	case unstable.Table:
		return r.header(node)
	case unstable.ArrayTable:
		return r.arrayHeader(node)
	case unstable.KeyValue:
		return r.keyValue(r.table, node)
	default:
		return nil
	}
}

// header opens the table of a [header].
func (r *tomlReader) header(node *unstable.Node) *Error {
	parent, last, err := r.walkHeader(node)
	if err != nil {
		return err
	}
	at := r.at(last, r.root.at)
	have := parent.get(string(last.Data))
	switch {
	case have == nil:
		r.table = newTable(at)
		r.table.origin = headed
		parent.set(string(last.Data), at, r.table)
	case have.value.kind == tableKind && have.value.origin == implied:
		r.table = have.value
		r.table.origin, r.table.at = headed, at
	default:
		return r.twice(last, at, have)
	}
	return nil
}

// arrayHeader opens a new element of the array of a [[header]].
func (r *tomlReader) arrayHeader(node *unstable.Node) *Error {
	parent, last, err := r.walkHeader(node)
	if err != nil {
		return err
	}
	at := r.at(last, r.root.at)
	have := parent.get(string(last.Data))
	if have == nil {
		have = parent.set(string(last.Data), at, &value{kind: arrayKind, at: at, origin: arrayTable})
	}
	if have.value.kind != arrayKind || have.value.origin != arrayTable {
		return r.twice(last, at, have)
	}
	r.table = newTable(at)
	r.table.origin = headed
	have.value.items = append(have.value.items, r.table)
	return nil
}

// walkHeader goes down to the table that holds the last part of a header's key.
func (r *tomlReader) walkHeader(node *unstable.Node) (*value, *unstable.Node, *Error) {
	table := r.root
	keys := node.Key()
	for keys.Next() {
		part := keys.Node()
		if keys.IsLast() {
			return table, part, nil
		}
		have := table.get(string(part.Data))
		if have == nil {
			at := r.at(part, r.root.at)
			have = table.set(string(part.Data), at, newTable(at))
		}
		next := have.value
		if next.kind == arrayKind && next.origin == arrayTable {
			next = next.items[len(next.items)-1]
		}
		if next.kind != tableKind || next.origin == written {
			return nil, nil, r.twice(part, r.at(part, r.root.at), have)
		}
		table = next
	}
	return table, nil, &Error{File: r.lines.file, Message: "not TOML: a table without a name"}
}

// keyValue adds key = value, or a.b = value, to a table.
func (r *tomlReader) keyValue(table *value, node *unstable.Node) *Error {
	keys := node.Key()
	for keys.Next() {
		part := keys.Node()
		key, at := string(part.Data), r.at(part, table.at)
		have := table.get(key)
		if keys.IsLast() {
			if have != nil {
				return r.twice(part, at, have)
			}
			v, err := r.value(node.Value(), at)
			if err != nil {
				return err
			}
			table.set(key, at, v)
			return nil
		}
		if have == nil {
			made := newTable(at)
			made.origin = dotted
			have = table.set(key, at, made)
		}
		if have.value.kind != tableKind || have.value.origin != dotted {
			return r.twice(part, at, have)
		}
		table = have.value
	}
	return nil
}

// value reads a value; at is where its key stands, for values whose own place the parser doesn't tell.
func (r *tomlReader) value(node *unstable.Node, at position) (*value, *Error) {
	v := &value{kind: otherKind, at: r.at(node, at), origin: written}
	switch node.Kind {
	case unstable.String:
		v.kind, v.text = stringKind, string(node.Data)
	case unstable.Integer:
		v.kind, v.text = integerKind, string(node.Data)
	case unstable.Bool:
		v.kind, v.truth = booleanKind, string(node.Data) == "true"
	case unstable.Array:
		v.kind = arrayKind
		for items := node.Children(); items.Next(); {
			if items.Node().Kind == unstable.Comment {
				continue
			}
			item, err := r.value(items.Node(), v.at)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
	case unstable.InlineTable:
		v = newTable(v.at)
		for items := node.Children(); items.Next(); {
			if items.Node().Kind != unstable.KeyValue {
				continue
			}
			if err := r.keyValue(v, items.Node()); err != nil {
				return nil, err
			}
		}
		closeTables(v)
	default: // floats and dates: the schema refuses them with their key
		v.text = string(node.Data)
	}
	return v, nil
}

// closeTables forbids additions to an inline table and to the tables that its dotted keys made.
func closeTables(v *value) {
	v.origin = written
	for _, f := range v.fields {
		if f.value.kind == tableKind && f.value.origin == dotted {
			closeTables(f.value)
		}
	}
}

func (r *tomlReader) twice(node *unstable.Node, at position, first *field) *Error {
	return &Error{
		File: at.file, Line: at.line, Column: at.column, Key: string(node.Data),
		Message: "is defined twice",
		Hint:    fmt.Sprintf("it is already defined in line %d: keep one", first.at.line),
	}
}

// at gives the place of a node, or otherwise where the parser keeps none.
func (r *tomlReader) at(node *unstable.Node, otherwise position) position {
	if node.Raw.Length > 0 {
		return r.lines.position(int(node.Raw.Offset))
	}
	if offset, ok := offsetIn(r.parser.Data(), node.Data); ok {
		return r.lines.position(offset)
	}
	return otherwise
}

// lineIndex finds lines and columns of offsets.
type lineIndex struct {
	file   string
	starts []int // offset of each line
}

func newLineIndex(file string, data []byte) lineIndex {
	index := lineIndex{file: file, starts: []int{0}}
	for i, c := range data {
		if c == '\n' {
			index.starts = append(index.starts, i+1)
		}
	}
	return index
}

func (l lineIndex) position(offset int) position {
	line, found := slices.BinarySearch(l.starts, offset)
	if !found {
		line--
	}
	return position{file: l.file, line: line + 1, column: offset - l.starts[line] + 1}
}

// offsetIn tells where part begins in whole, when it is a part of the same memory: the parser hands out slices of its
// input and, for some nodes, nothing else of where they stand. Slicing keeps the end of the capacity.
func offsetIn(whole, part []byte) (int, bool) {
	offset := cap(whole) - cap(part)
	if len(part) == 0 || offset < 0 || offset >= len(whole) || &whole[offset] != &part[0] {
		return 0, false
	}
	return offset, true
}
