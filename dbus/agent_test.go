package dbus_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// agent is a polkit agent that answers without asking anybody.
type agent struct {
	conn  *godbus.Conn
	allow bool
	asked chan string
}

// BeginAuthentication is org.freedesktop.PolicyKit1.AuthenticationAgent's.
func (a *agent) BeginAuthentication(action, message, _ string, _ map[string]string, cookie string, identities []struct {
	Kind    string
	Details map[string]godbus.Variant
},
) *godbus.Error {
	a.asked <- action + ": " + message
	if !a.allow {
		return godbus.NewError("org.freedesktop.PolicyKit1.Error.Cancelled", []any{"dismissed"}) //nolint:misspell // as polkit spells it
	}
	err := a.conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority").
		Call("org.freedesktop.PolicyKit1.Authority.AuthenticationAgentResponse2", 0, uint32(0), cookie, identities[0]).Err
	if err != nil {
		return godbus.MakeFailedError(err)
	}
	return nil
}

// attend registers an agent for a process.
func (s *served) attend(t testing.TB, pid int, allow bool) *agent {
	t.Helper()
	a := &agent{bustest.DialAs(t, s.address, 0), allow, make(chan string, 10)}
	const path = "/org/example/Agent"
	if err := a.conn.Export(a, path, "org.freedesktop.PolicyKit1.AuthenticationAgent"); err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var started uint64
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	if _, err := fmt.Sscan(fields[19], &started); err != nil {
		t.Fatal(err)
	}
	subject := struct {
		Kind    string
		Details map[string]godbus.Variant
	}{"unix-process", map[string]godbus.Variant{
		"pid": godbus.MakeVariant(uint32(pid)), "start-time": godbus.MakeVariant(started), "uid": godbus.MakeVariant(int32(bustest.Nobody)),
	}}
	err = a.conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority").
		Call("org.freedesktop.PolicyKit1.Authority.RegisterAuthenticationAgent", 0, subject, "C", path).Err
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// runAttended runs a client as nobody with an agent at its side.
func (s *served) runAttended(t testing.TB, allow bool, args ...string) (string, *agent) {
	t.Helper()
	cmd := bustest.As(exec.CommandContext(t.Context(), "sh", append([]string{"-c", `read -r go && exec "$@" 2>&1`, "sh"}, args...)...), bustest.Nobody)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.address, "HOME=/")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := s.attend(t, cmd.Process.Pid, allow)
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // what it printed tells
	return strings.TrimSpace(out.String()), a
}

func TestAgentIsAsked(t *testing.T) {
	s := servedWithPolkit(t)
	snapshot := []string{"busctl", "call", dbus.BusName, manager, managerName, "CreateSnapshot", "sa{sv}t", "from nobody", "0", "0"}
	prune := []string{"gdbus", "call", "--system", "--interactive", "--dest", dbus.BusName, "--object-path", manager, "--method", managerName + ".Prune", "{}", "0"}
	for name, test := range map[string]struct {
		args  []string
		allow bool
		asked string
		want  string
	}{
		"busctl":           {snapshot, true, "org.impermanence1.create-snapshot: Authentication is required to take a snapshot of the root file system", `o "/org/impermanence1/job/`},
		"busctl dismissed": {snapshot, false, "org.impermanence1.create-snapshot: Authentication is required to take a snapshot of the root file system", "Access denied"},
		"gdbus":            {prune, true, "org.impermanence1.prune: Authentication is required to delete old root file systems", "(objectpath '/org/impermanence1/job/"},
		"details": {
			[]string{"busctl", "call", dbus.BusName, manager + "/root/257", "org.impermanence1.Root", "SetPinned", "ba{sv}t", "true", "0", "0"},
			true,
			"org.impermanence1.manage-roots: Authentication is required to change old root file systems: 20261123T000000Z-257", "",
		},
		"godbus": {[]string{gobus(t), "interactive"}, true, "org.impermanence1.prune: Authentication is required to delete old root file systems", "pruning /org/impermanence1/job/"},
		"GLib":   {python(t, "gobject.py", "interactive"), true, "org.impermanence1.prune: Authentication is required to delete old root file systems", "pruning /org/impermanence1/job/"},
	} {
		t.Run(name, func(t *testing.T) {
			out, a := s.runAttended(t, test.allow, test.args...)
			if !strings.Contains(out, test.want) {
				t.Errorf("%s, want %s", out, test.want)
			}
			select {
			case asked := <-a.asked:
				if asked != test.asked {
					t.Errorf("asked %q, want %q", asked, test.asked)
				}
			default:
				t.Error("nobody was asked")
			}
		})
	}
	// python3-dbus has no way to ask for a question.
	if out, a := s.runAttended(t, true, python(t, "python_dbus.py", "refused")...); len(a.asked) > 0 || out != interactiveRequired {
		t.Errorf("python3-dbus: %s, asked %d times", out, len(a.asked))
	}
	quiet := append([]string{"busctl", "--allow-interactive-authorization=no"}, snapshot[1:]...)
	out, a := s.runAttended(t, true, quiet...)
	if len(a.asked) > 0 || !strings.Contains(out, "nteractive authorization required") {
		t.Errorf("not interactive: %s, asked %d times", out, len(a.asked))
	}
}
