package test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/impermanence/impermanence/test/bustest"
)

const lossesScript = "../systemd-units/user/impermanence-losses"

// TestLossesAreToldToTheDesktop runs the user's service: it tells how many files will be lost when they have become more, and
// nothing to whom polkit does not let know.
func TestLossesAreToldToTheDesktop(t *testing.T) {
	m := newBooted(t)
	m.startDaemon(t)
	desktop := newDesktop(t)
	before := m.tell(t, desktop, 0)
	writeFile(t, filepath.Join(m.sysroot(), "etc", "one"), "1")
	writeFile(t, filepath.Join(m.sysroot(), "etc", "two"), "2")
	if told := m.tell(t, desktop, 0); told == before || !strings.HasSuffix(told, " files will be lost at shutdown") {
		t.Errorf("the desktop is told %q, and before %q", told, before)
	}
	if told := m.tell(t, desktop, 0); told != "" {
		t.Errorf("what is known already is told again: %q", told)
	}
	if told := m.tell(t, desktop, bustest.Nobody); told != "" {
		t.Errorf("one who may not know is told %q", told)
	}
}

// startDaemon starts the daemon, and returns when it owns its name.
func (p *booted) startDaemon(t *testing.T) {
	t.Helper()
	bus := bustest.DialAs(t, p.bus, 0)
	owners := make(chan *godbus.Signal, 8)
	bus.Signal(owners)
	if err := bus.AddMatchSignal(godbus.WithMatchMember("NameOwnerChanged"), godbus.WithMatchArg(0, "org.impermanence1")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../bin/impermanenced", p.options()...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+p.bus)
	start(t, cmd)
	for signal := range owners {
		if len(signal.Body) == 3 && signal.Body[0] == "org.impermanence1" {
			return
		}
	}
}

// tell runs the service's program as a user, and returns what the desktop was told; "" for nothing.
func (p *booted) tell(t *testing.T, d *desktop, uid uint32) string {
	t.Helper()
	runtime := homeOf(t, uid)
	if uid == 0 {
		runtime = p.machine
	}
	programs := homeOf(t, uid)
	for _, path := range []string{"../bin/impermanence", lossesScript} {
		data := readFile(t, path)
		if err := os.WriteFile(filepath.Join(programs, filepath.Base(path)), []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := bustest.As(exec.Command(filepath.Join(programs, "impermanence-losses")), uid)
	cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+runtime,
		"DBUS_SYSTEM_BUS_ADDRESS="+p.bus, "DBUS_SESSION_BUS_ADDRESS="+d.address)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	select {
	case told := <-d.told:
		return told
	default:
		return "" // the call is answered before the program ends
	}
}

// desktop is a session bus with somebody who shows notifications.
type desktop struct {
	address string
	told    chan string
}

func newDesktop(t *testing.T) *desktop {
	t.Helper()
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--print-address=3", "--address=unix:path="+filepath.Join(t.TempDir(), "bus"))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	start(t, cmd)
	write.Close()
	address, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	d := &desktop{address: strings.TrimSpace(address), told: make(chan string, 8)}
	conn, err := godbus.Connect(d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Export(notifications{d.told}, "/org/freedesktop/Notifications", "org.freedesktop.Notifications"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.Notifications", 0); err != nil {
		t.Fatal(err)
	}
	return d
}

// notifications is the service that shows notifications, as its specification has it.
type notifications struct{ told chan<- string }

func (n notifications) Notify(_ string, _ uint32, _, summary, _ string, _ []string, _ map[string]godbus.Variant, _ int32) (uint32, *godbus.Error) {
	n.told <- summary
	return 1, nil
}
