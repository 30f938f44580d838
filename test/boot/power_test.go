package boot

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/writelog"
)

// samplesEnv says at how many instants of a boot the power is cut; at a tenth of as many the power is pulled from running machines.
const samplesEnv = "IMPERMANENCE_POWERCUT_SAMPLES"

// testPowerPulled records what a boot writes to its disk, and looks at the disk as a power cut at random instants would have left it. Then it
// pulls the power from running machines, one boot after the other, from the same disk.
func testPowerPulled(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	samples := 100
	if text := os.Getenv(samplesEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		samples = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	before := former(t, installed)
	before.change(t, func(top string) {
		write(t, filepath.Join(top, "persist/srv/data/kept"), "kept")
		btrfstest.Run(t, "btrfs", "filesystem", "sync", top)
	})
	during := before.copy(t)
	var console string
	log := writelog.Record(t, during.image, func(device string, _ func()) {
		drive := []string{"-drive", "if=none,id=root,format=raw,cache=none,file=" + device}
		console = expect(t, machine{disk: during, name: name + "/recorded", script: "fresh", drive: drive})
	})
	t.Logf("the boot sent %d requests to its disk", len(log))
	for range samples {
		surviveCut(t, before, log.Random(random))
	}
	pullPower(t, name, before, random, len(console), max(2, samples/10))
}

// surviveCut holds that a cut leaves a machine that boots: the file system is whole, early boot gives it a fresh root, the former one is
// there once, and nothing that persists is lost.
func surviveCut(t *testing.T, before disk, cut writelog.Cut) {
	t.Helper()
	t.Run(cut.What, func(t *testing.T) {
		d := before.copy(t)
		if err := cut.Apply(d.image); err != nil {
			t.Fatal(err)
		}
		device := btrfstest.Attach(t, d.image)
		btrfstest.Check(t, device)
		// The part of the configuration that early boot needs before the root is mounted; two file systems have the UUID here.
		config := filepath.Join(t.TempDir(), "impermanence.toml")
		ephemeral, _, _ := strings.Cut(before.config, "[retention]")
		write(t, config, strings.Replace(ephemeral, "device = \"UUID="+before.uuid+"\"\n", "", 1))
		btrfstest.Run(t, "../../bin/impermanence-initrd", "rollover", "--config="+config, "--device="+device,
			"--cmdline=rootflags=subvol="+rootSubvolume, "--run-dir="+t.TempDir())
		top := filepath.Join(t.TempDir(), "top")
		btrfstest.Mount(t, device, top, "subvolid=5")
		inspect(t, top, 2)
		btrfstest.Unmount(t, top)
		btrfstest.Check(t, device)
	})
}

// pullPower cuts the power at random instants of so many boots in a row, and boots to the end after them.
func pullPower(t *testing.T, name string, d disk, random *rand.Rand, length, boots int) {
	t.Helper()
	for n := range boots {
		what := fmt.Sprintf("pulled %d", n+1)
		t.Run(what, func(t *testing.T) {
			machine{disk: d, name: name + "/" + what, cutAt: 1 + random.IntN(length)}.run(t)
			d.change(t, func(top string) { inspect(t, top, n+1) })
			btrfstest.Check(t, btrfstest.Attach(t, d.image))
		})
	}
	expect(t, machine{disk: d, name: name + "/survivor", script: "survivor"})
	d.change(t, func(top string) { inspect(t, top, boots+1) })
}

// inspect looks at a file system after a cut: it has a root with an operating system, at most so many old roots, of which one or none is
// the former root, and what persists.
func inspect(t *testing.T, top string, most int) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(top, rootSubvolume, "etc/os-release")); err != nil {
		t.Errorf("there is no root to boot: %v", err)
	}
	// An unfinished snapshot is no old root: it was made to look for losses, and prune deletes it.
	old, err := filepath.Glob(filepath.Join(top, "old_roots/[!.]*"))
	if err != nil || len(old) > most {
		t.Errorf("%d old roots after at most %d boots: %q, %v", len(old), most, old, err)
	}
	markers, err := filepath.Glob(filepath.Join(top, "old_roots/*/opt/former"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(top, rootSubvolume, "opt/former")); err == nil {
		markers = append(markers, rootSubvolume)
	}
	if len(markers) != 1 {
		t.Errorf("the former root is there %d times: %q", len(markers), markers)
	}
	if text := read(t, filepath.Join(top, "persist/srv/data/kept")); text != "kept" {
		t.Errorf("what persists is now %q", text)
	}
}
