package dbus

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// object is something that has a path and properties: a pointer to a [Manager],
// [Root], [Entry] or [Job], never changed once it is here.
type object struct {
	path  ObjectPath
	face  *face
	value any
}

// group is the objects of one kind, in the order in which they are listed.
type group struct {
	list   []object
	byPath map[ObjectPath]int
	loaded bool // nothing was there before: what appears is no news
}

func newGroup[T any](f *face, values []T, path func(*T) ObjectPath) group {
	g := group{list: make([]object, 0, len(values)), byPath: make(map[ObjectPath]int, len(values)), loaded: true}
	for i := range values {
		p := path(&values[i])
		if _, twice := g.byPath[p]; twice || p == NoPath {
			continue
		}
		g.byPath[p] = len(g.list)
		g.list = append(g.list, object{p, f, &values[i]})
	}
	return g
}

func (g *group) lookup(p ObjectPath) (object, bool) {
	i, ok := g.byPath[p]
	if !ok {
		return object{}, false
	}
	return g.list[i], true
}

// tree is all that is on the bus at one instant. It is never changed: a new one
// takes its place.
type tree struct {
	manager object
	roots   group
	entries group
	jobs    group
}

// lookup finds an object; standard nodes without properties are not objects.
func (t *tree) lookup(p ObjectPath) (object, bool) {
	switch {
	case p == ManagerPath:
		return t.manager, true
	case strings.HasPrefix(string(p), rootPrefix):
		return t.roots.lookup(p)
	case strings.HasPrefix(string(p), entryPrefix):
		return t.entries.lookup(p)
	case strings.HasPrefix(string(p), jobPrefix):
		return t.jobs.lookup(p)
	}
	return object{}, false
}

// isBranch tells whether a path has no object, but others below it.
func isBranch(p ObjectPath, withLog bool) bool {
	switch p {
	case "/", "/org", "/org/impermanence1/root", "/org/impermanence1/entry", "/org/impermanence1/job":
		return true
	case "/org/freedesktop":
		return withLog
	}
	return false
}

// children are the names of the nodes below a path, sorted.
func (t *tree) children(p ObjectPath, withLog bool) []string {
	paths := []ObjectPath{ManagerPath + "/root", ManagerPath + "/entry", ManagerPath + "/job"}
	if withLog {
		paths = append(paths, logControlPath)
	}
	for _, g := range []*group{&t.roots, &t.entries, &t.jobs} {
		for i := range g.list {
			paths = append(paths, g.list[i].path)
		}
	}
	prefix := strings.TrimSuffix(string(p), "/") + "/"
	var names []string
	for _, path := range paths {
		if rest, ok := strings.CutPrefix(string(path), prefix); ok {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return slices.Compact(names)
}

// objects are all but the manager.
func (t *tree) objects() []object {
	return slices.Concat(t.roots.list, t.entries.list, t.jobs.list)
}

// diff is the signals that turn what a client knows of old into what it must know
// of t. A property that has the same value is never in them.
func (t *tree) diff(old *tree) []message {
	var out []message
	out = t.roots.diff(&old.roots, out)
	out = t.entries.diff(&old.entries, out)
	out = t.jobs.diff(&old.jobs, out)
	if old.manager.value != nil {
		out = appendPropertiesChanged(out, old.manager, t.manager)
	}
	return t.ended(old, out)
}

func (g *group) diff(old *group, out []message) []message {
	if !old.loaded {
		return out
	}
	for _, o := range g.list {
		before, known := old.lookup(o.path)
		if !known {
			out = append(out, interfacesAdded(o))
			continue
		}
		out = appendPropertiesChanged(out, before, o)
	}
	for _, o := range old.list {
		if _, still := g.byPath[o.path]; !still {
			out = append(out, interfacesRemoved(o))
		}
	}
	return out
}

// ended appends a JobRemoved for each job that has ended since old.
func (t *tree) ended(old *tree, out []message) []message {
	if !old.jobs.loaded {
		return out
	}
	for _, o := range t.jobs.list {
		job := o.value.(*Job)
		if job.State != JobDone {
			continue
		}
		if before, known := old.jobs.lookup(o.path); known && before.value.(*Job).State == JobDone {
			continue
		}
		out = append(out, jobRemoved(o.path, job))
	}
	return out
}

// appendPropertiesChanged appends one signal with all properties that differ.
func appendPropertiesChanged(out []message, before, after object) []message {
	if before.value == after.value || reflect.DeepEqual(before.value, after.value) {
		return out
	}
	var changed, invalidated []*property
	for i := range after.face.properties {
		p := &after.face.properties[i]
		if slices.Equal(p.encoded(before.value), p.encoded(after.value)) {
			continue
		}
		if p.emits == emitsInvalidates {
			invalidated = append(invalidated, p)
		} else {
			changed = append(changed, p)
		}
	}
	if changed == nil && invalidated == nil {
		return out
	}
	return append(out, propertiesChanged(after, changed, invalidated))
}

func signal(path ObjectPath, iface, member, signature string, put func(*encoder)) message {
	return message{kind: godbus.TypeSignal, path: path, iface: iface, member: member, body: body{signature, put}}
}

func propertiesChanged(o object, changed, invalidated []*property) message {
	return signal(o.path, propertiesInterface, "PropertiesChanged", "sa{sv}as", func(e *encoder) {
		e.string(o.face.name)
		e.array(8, func() {
			for _, p := range changed {
				p.putEntry(e, o.value)
			}
		})
		e.array(4, func() {
			for _, p := range invalidated {
				e.string(p.name)
			}
		})
	})
}

func interfacesAdded(o object) message {
	return signal(ManagerPath, objectsInterface, "InterfacesAdded", "oa{sa{sv}}", func(e *encoder) {
		e.path(o.path)
		o.putInterfaces(e)
	})
}

// putInterfaces writes a{sa{sv}}.
func (o object) putInterfaces(e *encoder) {
	e.array(8, func() {
		e.align(8)
		e.string(o.face.name)
		o.face.putProperties(e, o.value)
	})
}

func interfacesRemoved(o object) message {
	return signal(ManagerPath, objectsInterface, "InterfacesRemoved", "oas", func(e *encoder) {
		e.path(o.path)
		e.strings([]string{o.face.name})
	})
}

func jobRemoved(path ObjectPath, job *Job) message {
	return signal(ManagerPath, managerInterface, "JobRemoved", "ossss", func(e *encoder) {
		e.path(path)
		e.string(job.Operation)
		e.string(string(job.Result))
		e.string(job.Error.Name)
		e.string(job.Error.Message)
	})
}
