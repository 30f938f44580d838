package dbus_test

import (
	"context"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// TestPolicyFile holds polkit's file against its DTD and against the actions that the server asks for.
func TestPolicyFile(t *testing.T) {
	path := bustest.Unit(t, "org.impermanence1.policy")
	out, err := exec.Command("xmllint", "--noout", "--nonet", "--dtdvalid", "/usr/share/polkit-1/policyconfig-1.dtd", path).CombinedOutput()
	if err != nil {
		t.Errorf("xmllint: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Actions []struct {
			ID       string `xml:"id,attr"`
			Message  string `xml:"message"`
			Defaults struct {
				Any      string `xml:"allow_any"`
				Inactive string `xml:"allow_inactive"`
				Active   string `xml:"allow_active"`
			} `xml:"defaults"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, a := range file.Actions {
		ids = append(ids, a.ID)
		active := "auth_admin_keep"
		switch strings.TrimPrefix(a.ID, "org.impermanence1.") {
		case "set-next-boot", "modify-persistence", "restore": // a mount of root's, or the next root, is worth root
			active = "auth_admin"
		case "cancel-job":
			active = "yes"
		}
		if a.Message == "" || a.Defaults.Any != "auth_admin" || a.Defaults.Inactive != "auth_admin" || a.Defaults.Active != active {
			t.Errorf("%s: message %q, defaults %v", a.ID, a.Message, a.Defaults)
		}
	}
	slices.Sort(ids)
	if diff := cmp.Diff(dbus.Actions(), ids); diff != "" {
		t.Error(diff)
	}
}

// TestInterfaceFilesAreValid holds our XML against the shape of introspection data.
func TestInterfaceFilesAreValid(t *testing.T) {
	files, err := filepath.Glob("*.xml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	for _, f := range files {
		if out, err := exec.Command("xmllint", "--noout", "--nonet", f).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", f, err, out)
		}
	}
}

// What rules can look up of an action is what its comment in polkit's file says.
func TestPolicyFileNamesTheDetails(t *testing.T) {
	seen := &details{names: map[string]map[string]bool{}}
	s := serve(t, bustest.Start(t), newBackend(), seen)
	s.backend.start(dbus.Caller{UID: 0}, "prune")
	calls := changing()
	s.backend.start(dbus.Caller{UID: bustest.Nobody}, "prune")
	calls["cancel-job"] = [][]string{{manager + "/job/2", jobName, "Cancel", "a{sv}t", "0", "0"}}
	for action, all := range calls {
		for _, call := range all {
			if out, ok := s.busctl(t, bustest.Nobody, append([]string{"call", dbus.BusName}, call...)...); ok || !strings.Contains(out, "Access denied") {
				t.Errorf("%s: %v: %s", action, call, out)
			}
		}
	}
	data, err := os.ReadFile(bustest.Unit(t, "org.impermanence1.policy"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:<!-- Details: (.*)\. -->\n\s*)?<action id="(.*)">`).FindAllStringSubmatch(string(data), -1) {
		documented[m[2]] = map[string]bool{}
		for name := range strings.SplitSeq(m[1], ", ") {
			if name != "" {
				documented[m[2]][name] = true
			}
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if diff := cmp.Diff(documented, seen.names); diff != "" {
		t.Errorf("details (-documented +given):\n%s", diff)
	}
}

// details refuses everybody, and remembers the names of the details of each action.
type details struct {
	mu    sync.Mutex
	names map[string]map[string]bool
}

func (d *details) Authorize(_ context.Context, _ dbus.Caller, action string, given map[string]string, _ bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[action] == nil {
		d.names[action] = map[string]bool{}
	}
	for name := range given {
		d.names[action][name] = true
	}
	return dbus.ErrAccessDenied
}
