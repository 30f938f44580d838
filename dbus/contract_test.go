package dbus

import (
	"encoding/xml"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The elements of introspection data.
type (
	xmlNode struct {
		Interfaces []xmlInterface `xml:"interface"`
		Children   []struct {
			Name string `xml:"name,attr"`
		} `xml:"node"`
	}
	xmlInterface struct {
		Name       string        `xml:"name,attr"`
		Methods    []xmlMember   `xml:"method"`
		Signals    []xmlMember   `xml:"signal"`
		Properties []xmlProperty `xml:"property"`
	}
	xmlMember struct {
		Name string   `xml:"name,attr"`
		Args []xmlArg `xml:"arg"`
	}
	xmlArg struct {
		Name      string `xml:"name,attr"`
		Type      string `xml:"type,attr"`
		Direction string `xml:"direction,attr"`
	}
	xmlProperty struct {
		Name        string `xml:"name,attr"`
		Type        string `xml:"type,attr"`
		Access      string `xml:"access,attr"`
		Annotations []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"annotation"`
	}
)

func (m *xmlMember) signature(direction string) string {
	var s string
	for _, a := range m.Args {
		if a.Direction == direction {
			s += a.Type
		}
	}
	return s
}

func (p *xmlProperty) emits() emission {
	for _, a := range p.Annotations {
		if a.Name == "org.freedesktop.DBus.Property.EmitsChangedSignal" {
			return emission(a.Value)
		}
	}
	return emitsValue
}

// documented is all interfaces in the XML files, by name.
func documented(t testing.TB) map[string]xmlInterface {
	t.Helper()
	names, err := fs.Glob(InterfaceFiles(), "*.xml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]xmlInterface{}
	for _, name := range names {
		data, err := fs.ReadFile(InterfaceFiles(), name)
		if err != nil {
			t.Fatal(err)
		}
		var n xmlNode
		if err := xml.Unmarshal(data, &n); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, i := range n.Interfaces {
			found[i.Name] = i
		}
	}
	return found
}

func encoded(m *message) []byte {
	var e encoder
	m.encode(&e, 7)
	return e.b
}

type memberSignature struct{ In, Out string }

type propertySignature struct {
	Type   string
	Emits  emission
	Access string
}

// TestTablesAndXMLAreTheSame holds that what is documented is there, and the other way round.
func TestTablesAndXMLAreTheSame(t *testing.T) {
	xmlFaces, faces := documented(t), newFaces()
	if len(xmlFaces) != len(faces.all()) {
		t.Errorf("%d interfaces are documented, %d are there", len(xmlFaces), len(faces.all()))
	}
	for _, f := range faces.all() {
		t.Run(f.name, func(t *testing.T) {
			want, ok := xmlFaces[f.name]
			if !ok {
				t.Fatal("not documented")
			}
			wantMethods, methods := map[string]memberSignature{}, map[string]memberSignature{}
			for _, m := range want.Methods {
				wantMethods[m.Name] = memberSignature{m.signature("in"), m.signature("out")}
			}
			for _, m := range f.methods {
				methods[m.name] = memberSignature{m.in, m.out}
			}
			if diff := cmp.Diff(wantMethods, methods); diff != "" {
				t.Error("methods", diff)
			}
			wantProperties, properties := map[string]propertySignature{}, map[string]propertySignature{}
			for _, p := range want.Properties {
				wantProperties[p.Name] = propertySignature{p.Type, p.emits(), p.Access}
			}
			for _, p := range f.properties {
				access := "read"
				if p.set != nil {
					access = "readwrite"
				}
				properties[p.name] = propertySignature{p.signature, p.emits, access}
			}
			if diff := cmp.Diff(wantProperties, properties); diff != "" {
				t.Error("properties", diff)
			}
		})
	}
}

// TestSignalsAreAsDocumented holds each signal that the server can send against the XML.
func TestSignalsAreAsDocumented(t *testing.T) {
	faces, documented := newFaces(), documented(t)
	before := object{JobPath(1), faces.job, &Job{ID: 1}}
	after := object{JobPath(1), faces.job, &Job{ID: 1, Stage: "x", State: JobDone}}
	sent := append(appendPropertiesChanged(nil, before, after),
		interfacesAdded(after), interfacesRemoved(after), jobRemoved(after.path, after.value.(*Job)))
	exercised := map[string]bool{}
	for _, m := range sent {
		exercised[m.iface+"."+m.member] = true
		for _, s := range documented[m.iface].Signals {
			if s.Name == m.member && s.signature("") != m.body.signature {
				t.Errorf("%s has types %q, documented are %q", m.member, m.body.signature, s.signature(""))
			}
		}
		if d, err := decode(encoded(&m)); err != nil || len(d.Body) == 0 {
			t.Errorf("%s doesn't decode: %v", m.member, err)
		}
	}
	for _, i := range documented {
		for _, s := range i.Signals {
			if !exercised[i.Name+"."+s.Name] {
				t.Errorf("%s.%s is documented, and not sent", i.Name, s.Name)
			}
		}
	}
}

// TestPropertiesAreEncodedAsDeclared holds what is written for each property against
// its signature, with godbus as the judge.
func TestPropertiesAreEncodedAsDeclared(t *testing.T) {
	f, now := newFaces(), time.Now()
	for _, o := range []object{
		{"/", f.manager, &Manager{}},
		{"/", f.manager, &Manager{
			Version: "1", BootedRoot: 5, LastPrune: now, ActiveJobs: []uint64{1, 2}, ConfigurationErrors: []string{"", "b"}, Losses: Losses{1, 2, now},
			LastRollover: map[string]any{
				"a": "s", "b": true, "c": int64(-1), "d": 1.5, "e": []string{"x"}, "f": []uint64{1}, "g": uint32(3), "h": int32(-4),
				"i": []ObjectPath{"/x"}, "j": ObjectPath("/"), "k": 7, "l": struct{ X int }{8}, "m": uint64(9), "bad \xff\x00": "bad \xff\x00",
			},
		}},
		{"/", f.root, &Root{}},
		{"/", f.root, &Root{ID: 1 << 40, Name: "n\xff\x00", Path: "p\xff", Created: now, RolledOver: now, ReadOnly: true, ProtectReasons: []string{"booted"}, Size: 9}},
		{"/", f.entry, &Entry{}},
		{"/", f.entry, &Entry{Target: "/\xff", Mode: 0o755, LastError: ErrorInfo{"a", "b"}}},
		{"/", f.job, &Job{}},
		{"/", f.job, &Job{Objects: []ObjectPath{"/a", "/b"}, Progress: 0.5, Details: Details{"x": "y"}, Started: now}},
	} {
		m := message{kind: 4, path: "/x", iface: "a.b", member: "c", body: body{"a{sv}", func(e *encoder) { o.face.putProperties(e, o.value) }}}
		d, err := decode(encoded(&m))
		if err != nil {
			t.Fatalf("%s: %v", o.face.name, err)
		}
		if err := d.IsValid(); err != nil {
			t.Errorf("%s: %v", o.face.name, err)
		}
		table := d.Body[0].(options)
		if len(table) != len(o.face.properties) {
			t.Errorf("%s: %d of %d properties", o.face.name, len(table), len(o.face.properties))
		}
		for _, p := range o.face.properties {
			if got := table[p.name].Signature().String(); got != p.signature {
				t.Errorf("%s: type %q, want %q", p.name, got, p.signature)
			}
		}
	}
}

// TestEverythingIsDocumented holds that each interface, method, argument, property and
// signal of ours has its comment in the XML.
func TestEverythingIsDocumented(t *testing.T) {
	for name, i := range documented(t) {
		if strings.HasPrefix(name, "org.freedesktop.DBus.") {
			continue // by the D-Bus specification
		}
		data, err := fs.ReadFile(InterfaceFiles(), name+".xml")
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		want := []string{"\n    " + name + ":\n    @short_description: "}
		for _, m := range append(i.Methods, i.Signals...) {
			want = append(want, "\n      "+m.Name+":\n")
			for _, a := range m.Args {
				want = append(want, "\n      @"+a.Name+": ")
			}
		}
		for _, p := range i.Properties {
			want = append(want, "\n      "+p.Name+":\n")
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no comment has %q", name, strings.TrimSpace(w))
			}
		}
	}
}
