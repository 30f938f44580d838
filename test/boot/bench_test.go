package boot

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bootRounds is how often BenchmarkBoot starts each machine: one boot differs from the next by more than what we add.
const bootRounds = 41

// BenchmarkBoot is what we add to a boot on this machine's processor: without us, with us, and with a thousand old roots, in turn. What boots is
// what the tests boot in an emulator: a stock Debian's initrd, its switch of the root and that root's systemd. It does so in a container,
// which has no kernel to start and no device to wait for; that costs the same with us and without. What is added is the median of the
// differences between the boots of a round, with the bounds between which the true one is nineteen times in twenty.
func BenchmarkBoot(b *testing.B) {
	makePackage(b)
	installed := install(b, trixieDracut)
	machines := []*contender{
		newContender(b, "without", "bare", withoutUs(b, installed)),
		newContender(b, "with", "timed", former(b, installed)),
		newContender(b, "thousand", "timed", withOldRoots(b, installed, 1000)),
	}
	for _, c := range machines {
		c.boot(b) // none is measured at its first boot
	}
	for b.Loop() {
		for range bootRounds {
			for _, c := range machines {
				c.times = append(c.times, c.boot(b))
			}
		}
	}
	bare := machines[0]
	for _, c := range machines {
		for what, time := range map[string]func(bootTimes) time.Duration{
			"root": func(t bootTimes) time.Duration { return t.root },
			"up":   func(t bootTimes) time.Duration { return t.up },
		} {
			_, median, _ := medianOf(c.times, time)
			b.ReportMetric(ms(median), c.name+"-"+what+"-ms")
			if c == bare {
				continue
			}
			added := make([]bootTimes, len(c.times))
			for n, t := range c.times {
				added[n] = bootTimes{root: t.root - bare.times[n].root, up: t.up - bare.times[n].up}
			}
			low, median, high := medianOf(added, time)
			b.ReportMetric(ms(low), c.name+"-"+what+"-added-low-ms")
			b.ReportMetric(ms(median), c.name+"-"+what+"-added-ms")
			b.ReportMetric(ms(high), c.name+"-"+what+"-added-high-ms")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// medianOf is the median of what the boots took, and its interval of 95 % confidence: the order statistics that are that far
// from the middle (Conover, Practical Nonparametric Statistics, 3.2), whatever the distribution.
func medianOf(times []bootTimes, what func(bootTimes) time.Duration) (low, median, high time.Duration) {
	all := make([]time.Duration, len(times))
	for n, t := range times {
		all[n] = what(t)
	}
	slices.Sort(all)
	middle := float64(len(all)-1) / 2
	apart := 1.96 * math.Sqrt(float64(len(all))) / 2
	last := len(all) - 1
	return all[max(0, int(math.Floor(middle-apart)))], all[len(all)/2], all[min(last, int(math.Ceil(middle+apart)))]
}

// contender is a machine whose boots are measured.
type contender struct {
	name, script string
	disk         disk
	container    container
	times        []bootTimes
}

func newContender(b *testing.B, name, script string, d disk) *contender {
	b.Helper()
	return &contender{name: name, script: script, disk: d, container: newContainer(b, d, nil)}
}

// boot starts the machine, waits until it is off, and returns the times since its start.
func (c *contender) boot(b *testing.B) bootTimes {
	b.Helper()
	dir := b.TempDir()
	checks, result := filepath.Join(dir, "checks"), filepath.Join(dir, "result")
	m := machine{disk: c.disk, script: c.script}
	m.writeChecks(b, checks)
	write(b, result, "")
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	out, err := c.container.command(ctx, b, m.commandLine(), checks, result, "systemd.show_status=no").CombinedOutput()
	text := read(b, result)
	if err != nil || !strings.HasSuffix(text, "\nend\n") || strings.Contains(text, "FAIL ") {
		b.Fatalf("%s: %v\n%s\n%s", c.name, err, out, text)
	}
	var started float64
	if _, err := fmt.Sscanf(string(out), "started %f", &started); err != nil {
		b.Fatalf("%s: %v\n%s", c.name, err, out)
	}
	return timesIn(b, c.name, strings.Split(text, "\n"), monotonic(b, time.UnixMicro(int64(started*1e6))))
}

// monotonic is a time on the clock that systemd tells of, which a container shares.
func monotonic(b *testing.B, t time.Time) time.Duration {
	b.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		b.Fatal(err)
	}
	return time.Duration(now.Nano()) - time.Since(t)
}
