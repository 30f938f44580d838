package daemon_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
)

// buildProgram compiles a program as it is installed and returns where it is.
func buildProgram(b *testing.B, pkg string) string {
	b.Helper()
	b.Setenv("CGO_ENABLED", "0")
	binary := b.TempDir() + "/program"
	btrfstest.Run(b, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, pkg)
	return binary
}

// programs are the daemon on a machine, and the least that its libraries can do.
func programs(b *testing.B, m *machine) map[string][]string {
	b.Helper()
	return map[string][]string{
		"daemon": {
			buildProgram(b, "github.com/impermanence/impermanence/cmd/impermanenced"), "--log-level=err",
			"--config=" + m.config, "--run-dir=" + m.runDir, "--sysroot=" + m.sysroot, "--top=" + m.top,
		},
		"minimum": {buildProgram(b, "./testdata/minimum")},
	}
}

// busAndManager starts a bus, and listens as a service manager; in this order, since the bus says READY=1 as well.
func busAndManager(b *testing.B) *manager {
	b.Helper()
	b.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bustest.Start(b))
	return listen(b)
}

// run starts a program and waits for its READY=1.
func run(b *testing.B, systemd *manager, command []string) (cmd *exec.Cmd, ready time.Duration) {
	b.Helper()
	cmd = exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begun := time.Now()
	must(b, cmd.Start())
	systemd.until(b, "READY=1")
	return cmd, time.Since(begun)
}

// end ends a program, and waits until it is gone.
func end(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	must(b, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
}

// BenchmarkReady is the time from the start of the process to READY=1, in turn with the minimum and with a service that
// uses sd-bus in C.
func BenchmarkReady(b *testing.B) {
	m := newMachine(b)
	commands := programs(b, m)
	peer := filepath.Join(b.TempDir(), "peer")
	btrfstest.Run(b, "gcc", "-O2", "-o", peer, "../dbus/testdata/bench/peer.c", "-lsystemd")
	commands["sdbus"] = []string{peer, "serve", dbus.BusName, "0"}
	systemd := busAndManager(b)
	total := map[string]time.Duration{}
	for b.Loop() {
		for _, name := range []string{"daemon", "minimum", "sdbus"} {
			cmd, ready := run(b, systemd, commands[name])
			total[name] += ready
			end(b, cmd)
		}
	}
	for name, sum := range total {
		b.ReportMetric(float64(sum.Microseconds())/float64(b.N)/1000, name+"-ms")
	}
	b.ReportMetric(float64(total["daemon"])/float64(total["minimum"]), "ratio")
	b.ReportMetric(float64(total["daemon"])/float64(total["sdbus"]), "sdbus-ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory is the memory of the daemon, idle after its first answer, and after a thousand lists of a thousand old
// roots; beside that of the minimum after its first answer. Medians of all rounds.
func BenchmarkMemory(b *testing.B) {
	m := newMachine(b)
	const count = 1000
	for n := range count {
		m.oldRoot(b, time.Duration(count-n)*time.Hour)
	}
	commands := programs(b, m)
	systemd := busAndManager(b)
	seen := metrics{}
	for b.Loop() {
		cmd, _ := run(b, systemd, commands["minimum"])
		askVersion(b)
		minimum := memory(b, cmd, "VmRSS")
		seen.shares(b, cmd, "minimum")
		end(b, cmd)
		cmd, _ = run(b, systemd, commands["daemon"])
		askVersion(b)
		idle := memory(b, cmd, "VmRSS")
		seen.shares(b, cmd, "idle")
		c, err := dbus.NewClient(b.Context(), dbus.ClientOptions{})
		must(b, err)
		begun := time.Now()
		for range count {
			list, err := c.ListRoots(b.Context(), dbus.RootFilter{})
			must(b, err)
			if len(list) != count {
				b.Fatalf("%d roots are listed", len(list))
			}
		}
		seen.add("list-ms", float64(time.Since(begun).Microseconds())/1000/count)
		_, err = c.Roots(b.Context())
		must(b, err)
		seen.add("minimum-MB", minimum)
		seen.add("idle-MB", idle)
		seen.add("after-MB", memory(b, cmd, "VmRSS"))
		seen.add("peak-MB", memory(b, cmd, "VmHWM"))
		seen.add("idle-ratio", idle/minimum)
		must(b, c.Close())
		end(b, cmd)
	}
	seen.report(b)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkPruned is the time that the job takes to delete 100 old roots over the bus.
func BenchmarkPruned(b *testing.B) {
	m := newMachine(b)
	commands := programs(b, m)
	systemd := busAndManager(b)
	cmd, _ := run(b, systemd, commands["daemon"])
	defer end(b, cmd)
	go func() { // a service manager reads all that it is told; the socket holds only ten messages
		buffer := make([]byte, 4096)
		for {
			if _, err := systemd.conn.Read(buffer); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	c, err := dbus.NewClient(b.Context(), dbus.ClientOptions{})
	must(b, err)
	one := uint32(1)
	for b.Loop() {
		b.StopTimer()
		for n := range 101 {
			m.oldRoot(b, time.Duration(101-n)*time.Hour)
		}
		b.StartTimer()
		id, err := c.Prune(b.Context(), dbus.PruneOptions{KeepLast: &one})
		must(b, err)
		job, err := c.Wait(b.Context(), id, nil)
		must(b, err)
		if job.Result != dbus.ResultDone || job.ItemsDone < 100 {
			b.Fatalf("ended as %+v", job)
		}
	}
}

// askVersion asks a program for its version.
func askVersion(b *testing.B) {
	b.Helper()
	conn, err := dbus.Dial(b.Context())
	must(b, err)
	_, err = conn.Object(dbus.BusName, dbus.ManagerPath).GetProperty(dbus.BusName + ".Manager.Version")
	must(b, errors.Join(err, conn.Close()))
}

// shares tells what the memory of a process consists of: its own, and pages of its binary, wherever that lies.
func (m metrics) shares(b *testing.B, cmd *exec.Cmd, name string) {
	b.Helper()
	own := memory(b, cmd, "RssAnon")
	m.add(name+"-anon-MB", own)
	m.add(name+"-binary-MB", memory(b, cmd, "VmRSS")-own)
}

// metrics are what was measured in each round, by unit: a benchmark itself reports only the last.
type metrics map[string][]float64

func (m metrics) add(unit string, value float64) { m[unit] = append(m[unit], value) }

// report reports the median of each.
func (m metrics) report(b *testing.B) {
	b.Helper()
	for unit, values := range m {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], unit)
	}
}

// memory reads a line of a process's status, in MB.
func memory(b *testing.B, cmd *exec.Cmd, line string) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(b, err)
	_, value, _ := strings.Cut(string(data), line+":")
	var kilobytes float64
	_, err = fmt.Sscan(value, &kilobytes)
	must(b, err)
	return kilobytes / 1024
}
