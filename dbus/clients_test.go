package dbus_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

// follow runs a program that prints what is on the bus, and returns once ready is among that. read returns what it prints
// from then on, up to a line with end in it.
func (s *served) follow(t testing.TB, ready string, line ...string) (read func(end string) []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `exec "$@" 2>&1`, "sh"}, line...)...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+s.address)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(out)
	read = func(end string) (all []string) {
		for lines.Scan() {
			if all = append(all, lines.Text()); strings.Contains(lines.Text(), end) {
				return all
			}
		}
		t.Fatalf("%s: no %q in %q", line[0], end, all)
		return nil
	}
	read(ready)
	return read
}

// wantProgress wants the values of Progress that a pattern finds in lines to grow.
func wantProgress(t testing.TB, pattern string, lines []string) {
	t.Helper()
	var progress []float64
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		progress = append(progress, value)
	}
	if !slices.IsSorted(progress) || len(progress) < 2 {
		t.Errorf("progress %v in %q", progress, lines)
	}
}

func TestBusctl(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	job1, job2 := manager+"/job/1", manager+"/job/2"
	const jobName = "org.impermanence1.Job"
	monitored := s.follow(t, "Monitoring bus message stream", "busctl", "--address="+s.address, "--json=short", "monitor", dbus.BusName)
	for _, step := range []struct {
		uid  uint32
		args []string
		want string
	}{
		{0, []string{manager, managerName, "ListRoots", "a{sv}t", "1", "kind", "s", "old", "0"}, `a(ostt) 3 "/org/impermanence1/root/257" "20261123T000000Z-257" 1795420440000000 0`},
		{0, []string{manager, managerName, "CreateSnapshot", "sa{sv}t", "from busctl", "0", "0"}, `o "` + job1 + `"`},
		{0, []string{job1, jobName, "Cancel", "a{sv}t", "0", "0"}, ""},
		{0, []string{job1, jobName, "Wait", "t", "0"}, `sss "canceled" "org.impermanence1.Error.Canceled" "canceled"`},
		{0, []string{manager, managerName, "Prune", "a{sv}t", "1", "keepLast", "u", "1", "0"}, `o "` + job2 + `"`},
		{0, []string{job2, jobName, "Wait", "t", "0"}, `sss "done" "" ""`},
		{bustest.Nobody, []string{manager, managerName, "Prune", "a{sv}t", "0", "0"}, "Call failed: authorize org.impermanence1.prune: interactive authorization required: there is no agent that could ask"},
	} {
		out, _ := s.busctl(t, step.uid, append([]string{"call", dbus.BusName}, step.args...)...)
		if !strings.HasPrefix(out, step.want) {
			t.Errorf("%v: %s, want %s", step.args, out, step.want)
		}
	}
	wantProgress(t, `"Progress":\{"type":"d","data":([^}]*)\}`, monitored(`"member":"JobRemoved","payload":{"type":"ossss","data":["`+job2))
}

func TestGDBusMonitor(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	monitored := s.follow(t, "is owned by", "gdbus", "monitor", "--system", "--dest", dbus.BusName)
	s.gdbus(t, 0, manager, managerName+".Prune", "{}", "0")
	wantProgress(t, `'Progress': <([^>]*)>`, monitored("JobRemoved (objectpath '"+manager))
}

// gobus is a client that uses godbus alone.
func gobus(t testing.TB) string {
	t.Helper()
	program := filepath.Join(bustest.PublicDir(t), "gobus")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/clients/gobus").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

func TestGodbus(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.working(t)
	program := gobus(t)
	want := strings.Join([]string{
		"root /org/impermanence1/root/257 20261123T000000Z-257 true 0",
		"root /org/impermanence1/root/258 20261123T010000Z-258 true 0",
		"root /org/impermanence1/root/259 20261123T020000Z-259 true 8",
		"snapshot /org/impermanence1/job/1 canceled org.impermanence1.Error.Canceled",
		"pruned prune done true",
	}, "\n")
	if diff := cmp.Diff(want, s.run(t, 0, program)); diff != "" {
		t.Error(diff)
	}
	if got := s.run(t, bustest.Nobody, program, "refused"); got != interactiveRequired {
		t.Errorf("refused with %s", got)
	}
}
