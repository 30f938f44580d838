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
const bootRounds = 40

// BenchmarkBoot is what we add to a boot on this machine's processor: of a file system with few subvolumes, and of one with a thousand old
// roots, each without us and with us, in turn. What boots is what the tests boot in an emulator: a stock Debian's initrd, its switch of
// the root and that root's systemd. It does so in a container, which has no kernel to start and no device to wait for; that costs the same
// with us and without. What is added is estimated from the differences between the boots of a round, with the bounds between which the true
// one is nineteen times in twenty. The order of a round's boots changes: each leaves the machine busy for the next.
func BenchmarkBoot(b *testing.B) {
	makePackage(b)
	installed := install(b, trixieDracut)
	crowded := withOldRoots(b, installed, 1000)
	machines := []*contender{
		newContender(b, "without", "bare", withoutUs(b, installed)),
		newContender(b, "with", "timed", former(b, installed)),
		newContender(b, "thousand-without", "bare", withoutUs(b, crowded)),
		newContender(b, "thousand", "timed", crowded),
	}
	for _, c := range machines {
		c.boot(b) // none is measured at its first boot
	}
	orders := [][]int{{0, 1, 3, 2}, {1, 2, 0, 3}, {2, 3, 1, 0}, {3, 0, 2, 1}} // each machine follows each other once
	for b.Loop() {
		for round := range bootRounds {
			for _, n := range orders[round%len(orders)] {
				machines[n].times = append(machines[n].times, machines[n].boot(b))
			}
		}
	}
	for what, of := range map[string]func(bootTimes) time.Duration{
		"root": func(t bootTimes) time.Duration { return t.root },
		"up":   func(t bootTimes) time.Duration { return t.up },
	} {
		for _, c := range machines {
			times := make([]time.Duration, len(c.times))
			for n, t := range c.times {
				times[n] = of(t)
			}
			slices.Sort(times)
			b.ReportMetric(ms(times[len(times)/2]), c.name+"-"+what+"-ms")
		}
		for pair := range slices.Chunk(machines, 2) {
			bare, c := pair[0], pair[1]
			added := make([]time.Duration, len(c.times))
			for n, t := range c.times {
				added[n] = of(t) - of(bare.times[n])
			}
			low, middle, high := location(added)
			b.ReportMetric(ms(low), c.name+"-"+what+"-added-low-ms")
			b.ReportMetric(ms(middle), c.name+"-"+what+"-added-ms")
			b.ReportMetric(ms(high), c.name+"-"+what+"-added-high-ms")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// location is where differences lie: the median of the means of all pairs of them, and the interval of 95 % confidence that belongs
// to Wilcoxon's signed-rank test (Hodges and Lehmann; Conover, Practical Nonparametric Statistics, 5.7). Of so noisy times it tells more than
// their median, and a boot that something disturbed counts no more than any other.
func location(differences []time.Duration) (low, middle, high time.Duration) {
	var means []time.Duration
	for n, a := range differences {
		for _, b := range differences[n:] {
			means = append(means, (a+b)/2)
		}
	}
	slices.Sort(means)
	n := float64(len(differences))
	outside := max(0, int(n*(n+1)/4-1.96*math.Sqrt(n*(n+1)*(2*n+1)/24)))
	return means[outside], means[len(means)/2], means[len(means)-1-outside]
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
	unix.Sync() // what is left to write of the boot before is not this one's
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
