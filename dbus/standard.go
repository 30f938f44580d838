package dbus

import (
	"context"
	"fmt"
	"os"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

func peerMethods() []method {
	return []method{
		{"Ping", "", "", "", func(*Server, *call) (deed, error) {
			return deed{do: nothing(func(context.Context) error { return nil })}, nil
		}},
		{"GetMachineId", "", "s", "", planGetMachineID},
	}
}

func planGetMachineID(*Server, *call) (deed, error) {
	return deed{do: func(context.Context, Caller) (body, error) {
		id, err := os.ReadFile("/etc/machine-id")
		if err != nil {
			return body{}, fmt.Errorf("machine id: %w: %w", ErrNotSupported, err)
		}
		return body{"s", func(e *encoder) { e.string(strings.TrimSpace(string(id))) }}, nil
	}}, nil
}

func introspectableMethods() []method {
	return []method{{"Introspect", "", "s", "", planIntrospect}}
}

func planIntrospect(s *Server, c *call) (deed, error) {
	return deed{long: true, do: func(context.Context, Caller) (body, error) {
		xml, err := introspection(&c.node, s.publisher.tree().children(c.node.path, s.config.LogControl != nil))
		return body{"s", func(e *encoder) { e.string(xml) }}, err
	}}, nil
}

// introspection is the XML of a node.
func introspection(n *node, children []string) (string, error) {
	var b strings.Builder
	b.WriteString(`<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"` +
		` "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">` + "\n<node>\n")
	for _, f := range n.faces {
		xml, err := interfaceXML(f.name)
		if err != nil {
			return "", err
		}
		b.WriteString(xml)
	}
	for _, name := range children {
		b.WriteString("  <node name=\"" + name + "\"/>\n")
	}
	b.WriteString("</node>\n")
	return b.String(), nil
}

func objectManagerMethods() []method {
	return []method{{"GetManagedObjects", "", "a{oa{sa{sv}}}", "", planGetManagedObjects}}
}

func planGetManagedObjects(s *Server, _ *call) (deed, error) {
	return deed{long: true, do: func(context.Context, Caller) (body, error) {
		return body{"a{oa{sa{sv}}}", func(e *encoder) {
			objects := s.publisher.tree().objects() // see shown
			e.list(8, len(objects), func(i int) {
				e.align(8)
				e.path(objects[i].path)
				objects[i].putInterfaces(e)
			})
		}}, nil
	}}, nil
}

func propertiesMethods() []method {
	return []method{
		{"Get", "ss", "v", "", planGet},
		{"GetAll", "s", "a{sv}", "", planGetAll},
		{"Set", "ssv", "", "", planSet},
	}
}

// propertyFace is the interface whose properties are asked for. The node's own one
// may be left unnamed.
func (c *call) propertyFace(i int) (*face, error) {
	name := c.text(i)
	if name == "" && c.node.own != nil {
		return c.node.own, nil
	}
	for _, f := range c.node.faces {
		if f.name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("interface %q of %s: %w", name, c.node.path, ErrUnknownInterface)
}

// shown is what the properties of a node are read from, when they are written: were they read before, signals about what has
// changed since could be sent first, and who listens would take what is older for what is newer.
func (s *Server) shown(n *node) any {
	if o, there := s.publisher.tree().lookup(n.path); there {
		return o.value
	}
	return n.value
}

func planGet(s *Server, c *call) (deed, error) {
	f, err := c.propertyFace(0)
	if err != nil {
		return deed{}, err
	}
	p, err := f.property(c.text(1))
	if err != nil {
		return deed{}, err
	}
	return deed{long: f == s.faces.job, do: func(context.Context, Caller) (body, error) {
		return body{"v", func(e *encoder) { p.putVariant(e, s.shown(&c.node)) }}, nil
	}}, nil
}

func planGetAll(s *Server, c *call) (deed, error) {
	f, err := c.propertyFace(0)
	if err != nil {
		return deed{}, err
	}
	return deed{long: f == s.faces.job, do: func(context.Context, Caller) (body, error) {
		return body{"a{sv}", func(e *encoder) { f.putProperties(e, s.shown(&c.node)) }}, nil
	}}, nil
}

func planSet(s *Server, c *call) (deed, error) {
	f, err := c.propertyFace(0)
	if err != nil {
		return deed{}, err
	}
	p, err := f.property(c.text(1))
	if err != nil {
		return deed{}, err
	}
	if p.set == nil {
		return deed{}, fmt.Errorf("property %q of %s: %w", p.name, f.name, ErrPropertyReadOnly)
	}
	v := c.args[2].(godbus.Variant)
	if v.Signature().String() != p.signature {
		return deed{}, fmt.Errorf("property %q: %w: its type is %q, not %q", p.name, ErrInvalidArgs, p.signature, v.Signature())
	}
	return deed{caller: true, do: func(_ context.Context, caller Caller) (body, error) {
		if caller.UID != 0 {
			return body{}, fmt.Errorf("property %q of %s: %w: only root may set it", p.name, f.name, ErrAccessDenied)
		}
		return body{}, p.set(s, v.Value())
	}}, nil
}

// logProperties are those of org.freedesktop.LogControl1; the object's value is the
// [LogControl] itself.
func logProperties() []property {
	control := func(name string, emits emission, get func(LogControl) string) property {
		return property{name: name, signature: "s", emits: emits, put: func(e *encoder, value any) {
			e.string(get(value.(LogControl)))
		}}
	}
	return []property{
		control("LogLevel", emitsNothing, LogControl.LogLevel).
			writable(func(s *Server, v any) error { return s.config.LogControl.SetLogLevel(v.(string)) }),
		control("LogTarget", emitsNothing, LogControl.LogTarget).
			writable(func(s *Server, v any) error { return s.config.LogControl.SetLogTarget(v.(string)) }),
		control("SyslogIdentifier", emitsConst, LogControl.SyslogIdentifier),
	}
}
