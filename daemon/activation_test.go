package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// activatingBus is a bus that starts the daemon when it is called, as the system's does.
type activatingBus struct {
	address string
	pids    string // a file with the process id of each daemon that was started
}

const activatingConfiguration = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>%s</listen>
  <servicedir>%s</servicedir>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/> <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/> <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/> <allow receive_type="method_return"/> <allow receive_type="error"/> <allow receive_type="signal"/>
  </policy>
</busconfig>
`

func newActivatingBus(t *testing.T, m *machine, flags string) *activatingBus {
	t.Helper()
	dir := t.TempDir()
	b := &activatingBus{address: "unix:path=" + filepath.Join(dir, "socket"), pids: filepath.Join(dir, "pids")}
	start := filepath.Join(dir, "start")
	config := filepath.Join(dir, "bus.conf")
	for path, text := range map[string]string{
		config: fmt.Sprintf(activatingConfiguration, b.address, dir),
		start: fmt.Sprintf("#!/bin/sh\necho $$ >> %s\nexec %s --config=%s --run-dir=%s --sysroot=%s --top=%s %s\n",
			b.pids, build(t), m.config, m.runDir, m.sysroot, m.top, flags),
		filepath.Join(dir, dbus.BusName+".service"): fmt.Sprintf("[D-BUS Service]\nName=%s\nExec=%s\nUser=root\n", dbus.BusName, start),
	} {
		must(t, os.WriteFile(path, []byte(text), 0o755))
	}
	bus := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", "--print-address", "--config-file="+config)
	bus.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+b.address)
	bus.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := bus.StdoutPipe()
	must(t, err)
	must(t, bus.Start())
	_, err = out.Read(make([]byte, 1024)) // its address: it listens
	must(t, err)
	t.Cleanup(func() { // the daemons end with their connections
		_ = bus.Process.Kill()
		_ = bus.Wait()
	})
	return b
}

// started are the daemons that were started so far.
func (b *activatingBus) started(t *testing.T) []int {
	t.Helper()
	data, err := os.ReadFile(b.pids)
	must(t, err)
	var pids []int
	for _, line := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(line)
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

// serving is the daemon that owns the name.
func (b *activatingBus) serving() (pid int, ok bool) {
	out, err := exec.Command("busctl", "--address="+b.address, "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus",
		"GetConnectionUnixProcessID", "s", dbus.BusName).Output()
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscanf(string(out), "u %d", &pid)
	return pid, err == nil
}

// volley makes count calls from several clients, each after a pause that pause chooses, and returns how many failed.
func (b *activatingBus) volley(t *testing.T, count int, pause func() time.Duration) {
	t.Helper()
	const clients = 4
	var calling sync.WaitGroup
	var lost atomic.Int32
	for range clients {
		calling.Go(func() {
			c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: b.address})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			for range count / clients {
				<-time.After(pause())
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				list, err := c.ListRoots(ctx, dbus.RootFilter{})
				cancel()
				if err != nil || len(list) != 1 {
					t.Errorf("lost a call: %d roots, %v", len(list), err)
					lost.Add(1)
				}
			}
		})
	}
	calling.Wait()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d of %d calls were lost", n, count)
	}
}

// Four hundred calls that aim at the moment in which the daemon ends because nobody called: each is answered, by the one
// that ends or by the next.
func TestIdleExitLosesNoCall(t *testing.T) {
	m := newMachine(t)
	m.oldRoot(t, day)
	const idle = 20 * time.Millisecond
	b := newActivatingBus(t, m, "--log-level=err --idle-exit="+idle.String())
	b.volley(t, 400, func() time.Duration { return idle/2 + rand.N(4*idle) })
	n := len(b.started(t))
	if n < 10 {
		t.Errorf("the daemon was started only %d times", n)
	}
	t.Logf("400 calls, %d daemons", n)
}

// Four hundred calls while the daemon is ended again and again: each is answered.
func TestRestartsLoseNoCall(t *testing.T) {
	m := newMachine(t)
	m.oldRoot(t, day)
	b := newActivatingBus(t, m, "--log-level=err")
	done := make(chan struct{})
	var killing sync.WaitGroup
	killing.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5*time.Millisecond + rand.N(30*time.Millisecond)):
			}
			// The one that serves; while there is none, the next is on its way.
			if pid, ok := b.serving(); ok {
				if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Error(err)
				}
			}
		}
	})
	b.volley(t, 400, func() time.Duration { return rand.N(10 * time.Millisecond) })
	close(done)
	killing.Wait()
	n := len(b.started(t))
	if n < 10 {
		t.Errorf("the daemon was started only %d times", n)
	}
	t.Logf("400 calls, %d daemons", n)
}
