package dbus

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed *.xml
var interfaceFiles embed.FS

// InterfaceFiles are the XML files that document the interface and that the server
// answers introspection from, by their names.
func InterfaceFiles() fs.FS { return interfaceFiles }

// faces are all interfaces that the server has.
type faces struct {
	manager, root, entry, job, log            *face
	peer, introspectable, properties, objects *face
}

func newFaces() *faces {
	return &faces{
		manager:        &face{name: managerInterface, methods: managerMethods(), properties: managerProperties()},
		root:           &face{name: rootInterface, methods: rootMethods(), properties: rootProperties()},
		entry:          &face{name: entryInterface, methods: entryMethods(), properties: entryProperties()},
		job:            &face{name: jobInterface, methods: jobMethods(), properties: jobProperties()},
		log:            &face{name: logInterface, properties: logProperties()},
		peer:           &face{name: "org.freedesktop.DBus.Peer", methods: peerMethods()},
		introspectable: &face{name: "org.freedesktop.DBus.Introspectable", methods: introspectableMethods()},
		properties:     &face{name: propertiesInterface, methods: propertiesMethods()},
		objects:        &face{name: objectsInterface, methods: objectManagerMethods()},
	}
}

func (f *faces) all() []*face {
	return []*face{f.manager, f.root, f.entry, f.job, f.log, f.peer, f.introspectable, f.properties, f.objects}
}

// take tells whether any interface has a method that takes arguments of these types.
func (f *faces) take(iface, member, signature string) bool {
	for _, face := range f.all() {
		if iface != "" && face.name != iface {
			continue
		}
		if m, ok := face.method(member); ok && m.in == signature {
			return true
		}
	}
	return false
}

// interfaceXML cuts the element of an interface out of the file that has it, each time that somebody asks: few do, and the
// daemon would hold it all the time.
func interfaceXML(name string) (string, error) {
	file := name + ".xml"
	if strings.HasPrefix(name, "org.freedesktop.DBus.") {
		file = "org.freedesktop.DBus.xml"
	}
	data, err := interfaceFiles.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("interface %s: %w", name, err)
	}
	const end = "</interface>\n"
	_, rest, found := strings.Cut(string(data), fmt.Sprintf("  <interface name=%q>", name))
	inner, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("interface %s: not in %s: %w", name, file, fs.ErrNotExist)
	}
	return fmt.Sprintf("  <interface name=%q>", name) + inner + end, nil
}

// ofNode are the interfaces of a node on the bus; own is nil for a node that only
// has others below it.
func (f *faces) ofNode(own *face) []*face {
	switch own {
	case nil:
		return []*face{f.peer, f.introspectable}
	case f.manager:
		return []*face{own, f.objects, f.properties, f.peer, f.introspectable}
	default:
		return []*face{own, f.properties, f.peer, f.introspectable}
	}
}
