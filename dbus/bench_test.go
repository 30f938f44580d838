package dbus_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

const (
	// benchServer names the bus to a test binary that is to serve on it.
	benchServer = "IMPERMANENCE_BENCH_SERVER"
	benchRoots  = 1000
	benchRounds = 7
)

// serveForBench serves many roots until standard input ends.
func serveForBench(address string) {
	b := newBackend()
	b.roots = nil
	for i := range benchRoots {
		b.roots = append(b.roots, dbus.Root{
			ID: uint64(257 + i), Name: "20261123T075400Z-257", Kind: "20261123T075400Z-257", Label: "20261123T075400Z-257",
			UUID: "20261123T075400Z-257", BootID: "20261123T075400Z-257", Path: "old_roots/20261123T075400Z-257",
			Created: time.Unix(1795420440, 0), RolledOver: time.Unix(1795420440, 0), ReadOnly: true, Pinned: true,
			ProtectReasons: []string{"pinned"}, Size: 1795420440000000,
		})
	}
	s := dbus.NewServer(dbus.ServerConfig{Address: address, Backend: b, Authorizer: rootOnly{}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-s.Ready()
		_, _ = io.WriteString(os.Stdout, "ready\n") // the benchmark that reads it is there, or nothing matters
		_, _ = io.Copy(io.Discard, os.Stdin)        // ends with the benchmark
		cancel()
	}()
	if err := s.Run(ctx); err != nil {
		panic(err)
	}
}

// pin has this goroutine, and what it starts, run on one CPU until the benchmark ends.
func pin(b *testing.B) {
	b.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		b.Fatal(err)
	}
	for cpu := range 1024 {
		if before.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			b.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

// contestants are two buses, with us on one of them and sd-bus on the other.
type contestants struct{ peer, ours, sdbus string }

func startContestants(b *testing.B) contestants {
	b.Helper()
	c := contestants{filepath.Join(b.TempDir(), "peer"), bustest.Start(b), bustest.Start(b)}
	build := exec.Command("gcc", "-O2", "-o", c.peer, "testdata/bench/peer.c", "-lsystemd")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build the peer: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	startServer(b, c.ours, exec.Command(self))
	startServer(b, c.sdbus, exec.Command(c.peer, "serve", dbus.BusName, strconv.Itoa(benchRoots)))
	return c
}

func startServer(b *testing.B, address string, cmd *exec.Cmd) {
	b.Helper()
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+address, benchServer+"="+address)
	if _, err := cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // tells that it was killed
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("%s says %q: %v", cmd.Path, line, err)
	}
}

// call has the caller in C call a method again and again, and returns nanoseconds for each.
func (c *contestants) call(b *testing.B, address string, count int, method ...string) float64 {
	b.Helper()
	return c.callOf(b, address, dbus.BusName, count, method...)
}

// callOf is call for the service of a name.
func (c *contestants) callOf(b *testing.B, address, name string, count int, method ...string) float64 {
	b.Helper()
	cmd := exec.Command(c.peer, append([]string{"call", name, strconv.Itoa(count)}, method...)...)
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

// median, least and most of what was measured.
func spread(values []float64) (median, least, most float64) {
	slices.Sort(values)
	return values[len(values)/2], values[0], values[len(values)-1]
}

// BenchmarkAgainstSDBus is the rows of D-Bus: the same caller in C calls us and a
// service in C, in alternation, all on one CPU.
func BenchmarkAgainstSDBus(b *testing.B) {
	pin(b)
	c := startContestants(b)
	const properties, objects = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
	for _, row := range []struct {
		name   string
		count  int
		method []string
	}{
		{"Get", 2000, []string{manager, properties, "Get", "get"}},
		{"ListRoots1000", 50, []string{manager, managerName, "ListRoots", "list"}},
		{"GetManagedObjects1000", 10, []string{manager, objects, "GetManagedObjects"}},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				var ours, sdbus, ratio []float64
				for range benchRounds {
					o, s := c.call(b, c.ours, row.count, row.method...), c.call(b, c.sdbus, row.count, row.method...)
					ours, sdbus, ratio = append(ours, o/1000), append(sdbus, s/1000), append(ratio, o/s)
				}
				report(b, "ours-µs", ours)
				report(b, "sdbus-µs", sdbus)
				report(b, "ratio", ratio)
			}
			b.ReportMetric(0, "ns/op") // is about the rounds, not about a call
		})
	}
}

func report(b *testing.B, unit string, values []float64) {
	b.Helper()
	median, least, most := spread(values)
	b.ReportMetric(median, unit)
	if unit == "ratio" {
		b.ReportMetric(least, fmt.Sprintf("%s-min", unit))
		b.ReportMetric(most, fmt.Sprintf("%s-max", unit))
	}
}

// BenchmarkClientRoots reads 1,000 roots with our client from our server.
func BenchmarkClientRoots(b *testing.B) {
	c := startContestants(b)
	client, err := dbus.NewClient(b.Context(), dbus.ClientOptions{Address: c.ours})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	b.Run("ListRoots", func(b *testing.B) {
		for b.Loop() {
			if _, err := client.ListRoots(b.Context(), dbus.RootFilter{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Roots", func(b *testing.B) {
		for b.Loop() {
			if _, err := client.Roots(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
