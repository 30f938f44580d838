package dbus

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	godbus "github.com/godbus/dbus/v5"
)

// call is a method call that is being answered.
type call struct {
	header
	node   node
	method *method
	args   []any // as godbus decodes them; their types are those of method.in
}

// node is what stands at a path on the bus.
type node struct {
	path  ObjectPath
	faces []*face
	own   *face // nil: it only has others below it
	value any   // what own's properties are read from
}

// find finds the method of a call, whose interface may be left out.
func (n *node) find(iface, member string) (*method, error) {
	for _, f := range n.faces {
		if iface != "" && f.name != iface {
			continue
		}
		if m, ok := f.method(member); ok {
			return m, nil
		}
		if iface != "" {
			return nil, fmt.Errorf("method %q of %s: %w", member, iface, ErrUnknownMethod)
		}
	}
	if iface == "" {
		return nil, fmt.Errorf("method %q of %s: %w", member, n.path, ErrUnknownMethod)
	}
	return nil, fmt.Errorf("interface %q of %s: %w", iface, n.path, ErrUnknownInterface)
}

// interactive tells whether the caller would like a person to be asked.
func (c *call) interactive() bool {
	return c.flags&godbus.FlagAllowInteractiveAuthorization != 0
}

func (c *call) text(i int) string         { return c.args[i].(string) }
func (c *call) bool(i int) bool           { return c.args[i].(bool) }
func (c *call) uint64(i int) uint64       { return c.args[i].(uint64) }
func (c *call) options(i int) optionTable { return c.args[i].(map[string]godbus.Variant) }

// noFlags refuses bits that have no meaning: all of them, so far.
func (c *call) noFlags(i int) error {
	if flags := c.uint64(i); flags != 0 {
		return fmt.Errorf("flags %#x: %w: no flag is known", flags, ErrInvalidArgs)
	}
	return nil
}

// plain refuses options and flags, for methods that know none yet.
func (c *call) plain(options, flags int) error {
	if err := c.options(options).only(); err != nil {
		return err
	}
	return c.noFlags(flags)
}

// optionTable is an argument of type a{sv}.
type optionTable map[string]godbus.Variant

// only refuses options that are not among known.
func (o optionTable) only(known ...string) error {
	for key := range o {
		if !slices.Contains(known, key) {
			return fmt.Errorf("option %q: %w: known are %s", key, ErrInvalidArgs, listed(known))
		}
	}
	return nil
}

func listed(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

// option returns the value of an option, nil when it isn't there. A value of
// another type is refused.
func option[T any](o optionTable, key string) (*T, error) {
	v, ok := o[key]
	if !ok {
		return nil, nil //nolint:nilnil // an option that isn't given is no error
	}
	value, ok := v.Value().(T)
	if !ok {
		want := godbus.SignatureOf(*new(T))
		return nil, fmt.Errorf("option %q: %w: its type is %q, not %q", key, ErrInvalidArgs, want, v.Signature())
	}
	return &value, nil
}

// maxLabelSize is the length of the longest label, in bytes.
const maxLabelSize = 255

// checkLabel refuses a label that doesn't fit a line of a table.
func checkLabel(label string) error {
	switch {
	case len(label) > maxLabelSize:
		return fmt.Errorf("label of %d bytes: %w: at most %d", len(label), ErrInvalidName, maxLabelSize)
	case !utf8.ValidString(label):
		return fmt.Errorf("label %q: %w: not UTF-8", label, ErrInvalidName)
	case strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("label %q: %w: control character", label, ErrInvalidName)
	}
	return nil
}
