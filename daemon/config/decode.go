package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// decoder turns a tree of values into the configuration and collects every problem on the way.
type decoder struct {
	files    []string // in the order of reading
	problems Errors

	presetFiles *presetFiles // nil: presets can't be read
	weak        []weakEntry

	records map[string]bool // files with what was recorded
	misfits map[string]bool // places of entries in them that can't be beside what is configured
}

// scope is a table that is being read, with its full key for messages.
type scope struct {
	d     *decoder
	key   string
	table *value
	known []string
}

// fail records a problem at a place.
func (d *decoder) fail(at position, key, hint, format string, args ...any) {
	d.problems = append(d.problems, &Error{
		File: at.file, Line: at.line, Column: at.column, Key: key, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// table opens a table whose keys are known, and reports those that are not. Without known keys any key is right.
func (d *decoder) table(key string, v *value, known ...string) (scope, bool) {
	if v.kind != tableKind {
		d.fail(v.at, key, fmt.Sprintf("write it as a table: [%s]", key), "is %s, not a table", v.kind)
		return scope{}, false
	}
	s := scope{d: d, key: key, table: v, known: known}
	if len(known) == 0 {
		return s, true
	}
	for _, f := range v.fields {
		if !slices.Contains(known, f.key) {
			d.fail(f.at, s.path(f.key), unknownHint(f.key, known), "there is no such key")
		}
	}
	return s, true
}

func unknownHint(key string, known []string) string {
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "the keys here are " + strings.Join(known, ", ")
}

// path gives the full name of a key in the scope.
func (s scope) path(key string) string {
	if !bareKey(key) {
		key = strconv.Quote(key)
	}
	if s.key == "" {
		return key
	}
	return s.key + "." + key
}

// bareKey tells whether TOML needs no quotes around a key.
func bareKey(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return key != ""
}

// find gives the value of a key when it is there and of the kind that is wanted.
func (s scope) find(key string, want kind, hint string) (*value, bool) {
	f := s.table.get(key)
	if f == nil {
		return nil, false
	}
	if f.value.kind != want {
		s.d.fail(f.value.at, s.path(key), hint, "is %s, not %s", f.value.kind, want)
		return nil, false
	}
	return f.value, true
}

// truth reads true or false.
func (s scope) truth(key string, to *bool) {
	if v, ok := s.find(key, booleanKind, "write true or false, without quotes"); ok {
		*to = v.truth
	}
}

// count reads a whole number from 0.
func (s scope) count(key string, to *int) {
	v, ok := s.find(key, integerKind, "write a whole number such as 3")
	if !ok {
		return
	}
	n, err := strconv.ParseInt(v.text, 0, 32)
	if err != nil || n < 0 {
		s.d.fail(v.at, s.path(key), "write a whole number from 0 on", "%s is not a number of old roots", v.text)
		return
	}
	*to = int(n)
}

// parsed reads a string that parse understands; hint says what to write instead.
func parsed[T any](s scope, key, hint string, to *T, parse func(string) (T, error)) {
	v, ok := s.find(key, stringKind, hint)
	if !ok {
		return
	}
	result, err := parse(v.text)
	if err != nil {
		s.d.fail(v.at, s.path(key), hint, "%v", err)
		return
	}
	*to = result
}

// choice reads one of a few names.
func choice[T any](s scope, key string, to *T, names []string, values []T) {
	v, ok := s.find(key, stringKind, "write one of "+quoted(names))
	if !ok {
		return
	}
	i := slices.Index(names, v.text)
	if i < 0 {
		hint := "write one of " + quoted(names)
		if near := nearest(v.text, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		s.d.fail(v.at, s.path(key), hint, "%q is not one of its values", v.text)
		return
	}
	*to = values[i]
}

func quoted(names []string) string {
	quotes := make([]string, len(names))
	for i, name := range names {
		quotes[i] = strconv.Quote(name)
	}
	return strings.Join(quotes, ", ")
}

// list gives the items of an array, with the full key of each.
func (s scope) list(key string) []*value {
	v, ok := s.find(key, arrayKind, "write it in brackets: [ … ]")
	if !ok {
		return nil
	}
	return v.items
}

// texts reads an array of strings.
func (s scope) texts(key string) []*value {
	var texts []*value
	for _, item := range s.list(key) {
		if item.kind != stringKind {
			s.d.fail(item.at, s.path(key), "write it in quotes", "holds %s, not a string", item.kind)
			continue
		}
		texts = append(texts, item)
	}
	return texts
}
