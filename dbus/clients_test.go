package dbus_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// working lets jobs of pruning go on by themselves: ten things, one every 40 ms.
func (b *backend) working(t testing.TB) {
	t.Helper()
	work := func(id uint64) {
		ticker := time.NewTicker(40 * time.Millisecond)
		defer ticker.Stop()
		for done := range uint64(10) {
			<-ticker.C
			b.progress(id, done)
		}
		b.end(id, dbus.ResultDone, nil)
	}
	b.update(0, func() { b.pruned = work })
}

// python is a script of testdata/clients, to be run by a user who may look at it.
func python(t testing.TB, script string, args ...string) []string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "clients", script))
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"/usr/bin/python3", "-c", string(source)}, args...)
}

// run runs a client as a user, with the bus as its system bus.
func (s *served) run(t testing.TB, uid uint32, args ...string) string {
	t.Helper()
	cmd := bustest.As(exec.CommandContext(t.Context(), args[0], args[1:]...), uid)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.address, "HOME=/", "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s as %d: %v\n%s", args[0], uid, err, out)
	}
	return strings.TrimSpace(string(out))
}

const interactiveRequired = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

func TestPythonDBus(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	want := strings.Join([]string{
		"root /org/impermanence1/root/257 20261123T000000Z-257 True 0",
		"root /org/impermanence1/root/258 20261123T010000Z-258 True 0",
		"root /org/impermanence1/root/259 20261123T020000Z-259 True 8",
		"snapshot /org/impermanence1/job/1",
		"canceled canceled",
		"pruned prune done True",
	}, "\n")
	if diff := cmp.Diff(want, s.run(t, 0, python(t, "python_dbus.py")...)); diff != "" {
		t.Error(diff)
	}
	if got := s.run(t, bustest.Nobody, python(t, "python_dbus.py", "refused")...); got != interactiveRequired {
		t.Errorf("refused with %s", got)
	}
}

func TestGObjectManagerClient(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	want := strings.Join([]string{
		"object /org/impermanence1/entry/_2fetc_2fmachine_2did",
		"object /org/impermanence1/entry/_2fvar_2flog",
		"object /org/impermanence1/root/257",
		"object /org/impermanence1/root/258",
		"object /org/impermanence1/root/259",
		`path b'old_roots/\xff0'`,
		"added /org/impermanence1/job/1",
		"ended /org/impermanence1/job/1 canceled True",
		"added /org/impermanence1/job/2",
		"ended /org/impermanence1/job/2 done True",
		"progress True",
	}, "\n")
	if diff := cmp.Diff(want, s.run(t, 0, python(t, "gobject.py")...)); diff != "" {
		t.Error(diff)
	}
	if got := s.run(t, bustest.Nobody, python(t, "gobject.py", "refused")...); got != interactiveRequired {
		t.Errorf("refused with %s", got)
	}
}

// gdbus calls a method as a user and returns what gdbus prints, whatever it is.
func (s *served) gdbus(t testing.TB, uid uint32, path, method string, args ...string) string {
	t.Helper()
	line := append([]string{"gdbus", "call", "--system", "--dest", dbus.BusName, "--object-path", path, "--method", method}, args...)
	return s.run(t, uid, append([]string{"sh", "-c", `"$@" 2>&1 || :`, "sh"}, line...)...)
}

func TestGDBus(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	job1, job2 := manager+"/job/1", manager+"/job/2"
	for _, step := range []struct {
		uid          uint32
		path, method string
		args         []string
		want         string
	}{
		{0, manager, managerName + ".ListRoots", []string{"{'kind': <'old'>}", "0"}, "([(objectpath '/org/impermanence1/root/257', '20261123T000000Z-257', uint64 1795420440000000, uint64 0), ('/org/impermanence1/root/258', '20261123T010000Z-258', 1795424040000000, 0), ('/org/impermanence1/root/259', '20261123T020000Z-259', 1795427640000000, 8)],)"},
		{0, manager, managerName + ".CreateSnapshot", []string{"from gdbus", "{}", "0"}, "(objectpath '" + job1 + "',)"},
		{0, job1, "org.impermanence1.Job.Cancel", []string{"{}", "0"}, "()"},
		{0, job1, "org.impermanence1.Job.Wait", []string{"0"}, "('canceled', 'org.impermanence1.Error.Canceled', 'canceled')"},
		{0, manager, managerName + ".Prune", []string{"{'keepLast': <uint32 1>}", "0"}, "(objectpath '" + job2 + "',)"},
		{0, job2, "org.impermanence1.Job.Wait", []string{"0"}, "('done', '', '')"},
		{bustest.Nobody, manager, managerName + ".Prune", []string{"{}", "0"}, "Error: GDBus.Error:" + interactiveRequired + ": authorize org.impermanence1.prune: interactive authorization required"},
	} {
		if got := s.gdbus(t, step.uid, step.path, step.method, step.args...); got != step.want {
			t.Errorf("%s: %s, want %s", step.method, got, step.want)
		}
	}
	out := s.run(t, 0, "gdbus", "introspect", "--system", "--dest", dbus.BusName, "--object-path", manager, "--recurse")
	for _, want := range []string{"node /org/impermanence1/root/258 {", "readonly ay Path = b'old_roots/\\3771';", "SetNextBoot(in  s value,"} {
		if !strings.Contains(out, want) {
			t.Errorf("gdbus introspect does not show %q:\n%s", want, out)
		}
	}
}

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
		"GLib": {python(t, "gobject.py", "interactive"), true, "org.impermanence1.prune: Authentication is required to delete old root file systems", "pruning /org/impermanence1/job/"},
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
	quiet := append([]string{"busctl", "--allow-interactive-authorization=no"}, snapshot[1:]...)
	out, a := s.runAttended(t, true, quiet...)
	if len(a.asked) > 0 || !strings.Contains(out, "nteractive authorization required") {
		t.Errorf("not interactive: %s, asked %d times", out, len(a.asked))
	}
}
