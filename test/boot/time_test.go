package boot

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// testTime tells what we add to a boot, from the journals of one machine as it is without us, with us, and with a thousand old roots. It
// leaves a table beside the transcripts. Each boots once before, so that none is a first boot.
func testTime(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	without, with, thousand := withoutUs(t, installed), former(t, installed), withOldRoots(t, installed, 1000)
	bare := measureBoot(t, name+"/without", "bare", without)
	table := &strings.Builder{}
	fmt.Fprintf(table, "%s: time from the kernel's start, of a machine of 1e9 instructions a second, in ms\n%-24s %16s %18s\n",
		on, "", "root is booted", "multi-user.target")
	row := func(what string, b bootTimes) {
		fmt.Fprintf(table, "%-24s %8.0f (%+5.0f) %10.0f (%+5.0f)\n", what, ms(b.root), ms(b.root-bare.root), ms(b.up), ms(b.up-bare.up))
	}
	row("without impermanence", bare)
	row("with it", measureBoot(t, name+"/with", "timed", with))
	row("and 1,000 old roots", measureBoot(t, name+"/thousand", "timed", thousand))
	t.Log(table)
	f := machine{name: name + "/table"}.transcript(t)
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(table.String()); err != nil {
		t.Fatal(err)
	}
}

func testThousand(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	expect(t, machine{disk: withOldRoots(t, installed, 1000), contained: on.contained(), name: name, script: "timed"})
}

// withoutUs is the machine as it was before the package came.
func withoutUs(t testing.TB, installed disk) disk {
	t.Helper()
	d := installed.copy(t)
	d.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		chroot(t, root, "dpkg", "--remove", "impermanence")
		chroot(t, root, "sed", "--in-place", "/persist/d", "/etc/fstab")
		d.useInitrd(t, root)
	})
	return d
}

// withOldRoots is the machine with so many old roots.
func withOldRoots(t testing.TB, installed disk, count int) disk {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		for n := range count {
			path := fmt.Sprintf("%s/old_roots/2024-11-04_10:%02d:%02d", top, n/60, n%60)
			btrfstest.Run(t, "btrfs", "subvolume", "snapshot", filepath.Join(top, "root-template"), path)
		}
	})
	return d
}

// bootTimes are times since a machine's start.
type bootTimes struct {
	root time.Duration // PID 1 of the root begins: what the initrd does is done
	up   time.Duration // multi-user.target is reached
}

// measureBoot starts a machine twice, the second time with a clock that can be believed.
func measureBoot(t *testing.T, name, script string, d disk) bootTimes {
	t.Helper()
	expect(t, machine{disk: d, name: name + "/before", script: script})
	lines, _ := results(t, machine{disk: d, name: name, script: script, counted: true})
	return timesIn(t, name, lines, 0)
}

// timesIn finds the times in what a machine's checks have printed; start is that of its boot on the same clock.
func timesIn(t testing.TB, name string, lines []string, start time.Duration) bootTimes {
	t.Helper()
	var b bootTimes
	for _, line := range lines {
		var root, up int64
		if n, _ := fmt.Sscanf(line, "times %d %d", &root, &up); n == 2 {
			b = bootTimes{time.Duration(root)*time.Microsecond - start, time.Duration(up)*time.Microsecond - start}
		}
	}
	if b.root <= 0 || b.up <= b.root {
		t.Fatalf("%s: no times of its boot: %q", name, lines)
	}
	return b
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
