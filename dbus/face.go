package dbus

import (
	"context"
	"fmt"
)

// The names of our interfaces.
const (
	managerInterface    = BusName + ".Manager"
	rootInterface       = BusName + ".Root"
	entryInterface      = BusName + ".Entry"
	jobInterface        = BusName + ".Job"
	propertiesInterface = "org.freedesktop.DBus.Properties"
	objectsInterface    = "org.freedesktop.DBus.ObjectManager"
	logInterface        = "org.freedesktop.LogControl1"
)

// face is an interface as the server has it: what it is called, and its tables.
type face struct {
	name       string
	methods    []method
	properties []property
}

// method is a line of the table of methods.
type method struct {
	name   string
	in     string // signature that the arguments must have
	out    string // signature of the reply
	action string // polkit action; empty when anyone may call it
	plan   func(s *Server, c *call) (deed, error)
}

// startsJob tells whether the method replies with a job, alone or with a stream.
func (m *method) startsJob() bool { return m.out == "o" || m.out == "oay" }

// deed is a call that was understood and found valid: what to tell polkit, and what
// to do when it agrees. Planning is done once before the question, so that nobody
// types a password for nothing, and once after it, since that can take minutes.
type deed struct {
	owner   *uint32           // whose thing it is; for anybody else the action is the one for other users
	details map[string]string // for polkit
	caller  bool              // do needs to know the caller's user, although there is no action
	parks   bool              // may take as long as it likes: it counts for its user, not for its connection
	long    bool              // the answer may be long: one is sent at a time, and of what anyone may call one made for each user
	do      func(ctx context.Context, caller Caller) (body, error)
}

// emission says what a change of a property sends; the names are those of the
// annotation org.freedesktop.DBus.Property.EmitsChangedSignal.
type emission string

const (
	emitsValue       emission = "true"
	emitsInvalidates emission = "invalidates"
	emitsConst       emission = "const"
	emitsNothing     emission = "false"
)

// property is a line of the table of properties.
type property struct {
	name      string
	signature string
	emits     emission
	put       func(e *encoder, value any)
	set       func(s *Server, value any) error // nil: read-only
}

// prop makes a line of the table of properties of T.
func prop[T any](name, signature string, emits emission, put func(e *encoder, value *T)) property {
	return property{name: name, signature: signature, emits: emits, put: func(e *encoder, value any) { put(e, value.(*T)) }}
}

// writable makes a property one that can be set, by root only.
func (p property) writable(set func(s *Server, value any) error) property {
	p.set = set
	return p
}

func (f *face) method(name string) (*method, bool) {
	for i := range f.methods {
		if f.methods[i].name == name {
			return &f.methods[i], true
		}
	}
	return nil, false
}

func (f *face) property(name string) (*property, error) {
	for i := range f.properties {
		if f.properties[i].name == name {
			return &f.properties[i], nil
		}
	}
	return nil, fmt.Errorf("property %q of %s: %w", name, f.name, ErrUnknownProperty)
}

// putProperties writes a{sv}: all properties of value.
func (f *face) putProperties(e *encoder, value any) {
	e.array(8, func() {
		for i := range f.properties {
			f.properties[i].putEntry(e, value)
		}
	})
}

// putEntry writes {sv}: one property.
func (p *property) putEntry(e *encoder, value any) {
	e.align(8)
	e.string(p.name)
	p.putVariant(e, value)
}

func (p *property) putVariant(e *encoder, value any) {
	e.signature(p.signature)
	p.put(e, value)
}

// encoded is the property's value as bytes, which are equal when the values are.
func (p *property) encoded(value any) []byte {
	var e encoder
	p.put(&e, value)
	return e.b
}
