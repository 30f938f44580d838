package dbus_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestIntrospectionIsGolden holds what the server says of each kind of object, as
// busctl understands it, and as it is sent.
func TestIntrospectionIsGolden(t *testing.T) {
	s := newServed(t)
	if err := s.client(t).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.backend.start(dbus.Caller{}, "prune")
	for name, path := range map[string]string{
		"manager":    manager,
		"root":       manager + "/root/257",
		"entry":      manager + "/entry/_2fvar_2flog",
		"job":        manager + "/job/1",
		"roots":      manager + "/root",
		"top":        "/",
		"logcontrol": "/org/freedesktop/LogControl1",
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".busctl", s.mustBusctl(t, "introspect", "--no-pager", "--full", dbus.BusName, path)+"\n")
			golden(t, name+".xml", s.mustBusctl(t, "introspect", "--xml-interface", dbus.BusName, path)+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "introspect", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test -update writes it anew): %s", path, diff)
	}
}

// TestServedXMLIsTheFile holds that an interface is served byte for byte as its file has it.
func TestServedXMLIsTheFile(t *testing.T) {
	s := newServed(t)
	s.backend.start(dbus.Caller{}, "prune")
	for file, path := range map[string]string{
		"org.impermanence1.Manager.xml":   manager,
		"org.impermanence1.Root.xml":      manager + "/root/257",
		"org.impermanence1.Entry.xml":     manager + "/entry/_2fvar_2flog",
		"org.impermanence1.Job.xml":       manager + "/job/1",
		"org.freedesktop.LogControl1.xml": "/org/freedesktop/LogControl1",
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, element, _ := strings.Cut(string(data), "  <interface ")
		element, _, _ = strings.Cut(element, "</interface>")
		if served := s.mustBusctl(t, "introspect", "--xml-interface", dbus.BusName, path); !strings.Contains(served, element) {
			t.Errorf("%s does not serve what %s has", path, file)
		}
	}
}

// TestTree holds that a client which walks the tree finds every object.
func TestTree(t *testing.T) {
	s := newServed(t)
	out := s.mustBusctl(t, "tree", "--list", dbus.BusName)
	want := strings.Join([]string{
		"/", "/org", "/org/freedesktop", "/org/freedesktop/LogControl1", "/org/impermanence1", "/org/impermanence1/entry",
		"/org/impermanence1/entry/_2fetc_2fmachine_2did", "/org/impermanence1/entry/_2fvar_2flog", "/org/impermanence1/job",
		"/org/impermanence1/root", "/org/impermanence1/root/257", "/org/impermanence1/root/258", "/org/impermanence1/root/259",
	}, "\n")
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
}

func TestLogControl(t *testing.T) {
	s := newServed(t)
	property := []string{dbus.BusName, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"}
	s.mustBusctl(t, append(append([]string{"set-property"}, property...), "LogLevel", "s", "debug")...)
	if out := s.mustBusctl(t, append(append([]string{"get-property"}, property...), "LogLevel", "LogTarget", "SyslogIdentifier")...); out != "s \"debug\"\ns \"journal\"\ns \"impermanenced\"" {
		t.Errorf("properties %q", out)
	}
	if out, ok := s.busctl(t, 0, append(append([]string{"set-property"}, property...), "LogLevel", "s", "loud")...); ok {
		t.Errorf("a level that isn't one was taken: %s", out)
	}
	if out, ok := s.busctl(t, 65534, append(append([]string{"set-property"}, property...), "LogLevel", "s", "info")...); ok || !strings.Contains(out, "Access denied") {
		t.Errorf("nobody set the level: %s", out)
	}
}

func TestStandardInterfaces(t *testing.T) {
	s := newServed(t)
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		t.Fatal(err)
	}
	want := `s "` + strings.TrimSpace(string(id)) + `"`
	if out := s.mustBusctl(t, "call", dbus.BusName, "/nowhere", "org.freedesktop.DBus.Peer", "GetMachineId"); out != want {
		t.Errorf("machine id %s, want %s", out, want)
	}
	s.mustBusctl(t, "call", dbus.BusName, "/nowhere", "org.freedesktop.DBus.Peer", "Ping")
	if out := s.mustBusctl(t, "call", dbus.BusName, manager, "org.freedesktop.DBus.Properties", "Get", "ss", "", "NextBoot"); out != `v s "fresh"` {
		t.Errorf("property of an interface that isn't named: %s", out)
	}
	if out := s.mustBusctl(t, "call", dbus.BusName, manager, "org.freedesktop.DBus.Properties", "GetAll", "s", "org.freedesktop.DBus.Peer"); out != `a{sv} 0` {
		t.Errorf("properties of Peer: %s", out)
	}
}
