package dbus_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
)

// Every method of ours that takes options and flags refuses those that have no meaning, so that they can get one later.
func TestUnknownOptionsAndFlagsAreRefused(t *testing.T) {
	s := newServed(t)
	s.backend.start(dbus.Caller{}, "prune")
	conn, err := dbus.DialAddress(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	root, kept, fresh := dbus.RootPath(257), []byte("/var/log"), []byte("/new")
	paths := map[string]dbus.ObjectPath{managerName: manager, rootName: root, entryName: dbus.EntryPath("/var/log"), jobName: dbus.JobPath(1)}
	leading := map[string][]any{
		"": {}, "s": {"keep"}, "b": {true}, "ay": {kept}, "ao": {[]dbus.ObjectPath{}}, "oo": {root, root}, "oaay": {root, [][]byte{kept}},
	}
	for _, method := range dbus.Methods() {
		iface, member, _ := cutLast(method.Name, ".")
		path, ours := paths[iface]
		if !ours || member == "Wait" {
			continue
		}
		before, hasOptions := strings.CutSuffix(method.In, "a{sv}t")
		if !hasOptions && method.In != "t" {
			t.Errorf("%s takes %s, without flags", method.Name, method.In)
			continue
		}
		args := slices.Clone(leading[strings.TrimSuffix(before, "t")])
		switch member {
		case "AddPersistence":
			args = []any{fresh}
		case "DeleteRoots":
			args = []any{[]dbus.ObjectPath{root}}
		}
		refused := func(want string, args ...any) {
			t.Helper()
			err := conn.Object(dbus.BusName, path).Call(method.Name, 0, args...).Err
			if errorOf(err) != "org.freedesktop.DBus.Error.InvalidArgs" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s%v: %v, want %s", method.Name, args, err, want)
			}
		}
		if !hasOptions {
			refused("flags 0x4", uint64(4))
			continue
		}
		none, unknown := map[string]dbus.Variant{}, map[string]dbus.Variant{"noSuchOption": dbus.MakeVariant(true)}
		refused(`option "noSuchOption"`, append(slices.Clone(args), unknown, uint64(0))...)
		refused("flags 0x4", append(slices.Clone(args), none, uint64(4))...)
	}
	if calls := s.backend.log(); len(calls) > 0 {
		t.Errorf("the backend was asked: %q", calls)
	}
}

// cutLast is strings.Cut around the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}
