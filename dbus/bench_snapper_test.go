package dbus_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
)

// openBus is a bus on which anybody may do anything.
const openBus = `<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
`

// startSnapper runs snapperd with so many snapshots on a bus of its own, and returns the bus's address.
func startSnapper(b *testing.B, count int) string {
	b.Helper()
	top := b.TempDir()
	btrfstest.Mount(b, btrfstest.NewDevice(b, 0), top, "subvolid=5")
	btrfstest.Subvolume(b, filepath.Join(top, ".snapshots"))
	for n := 1; n <= count; n++ {
		dir := filepath.Join(top, ".snapshots", strconv.Itoa(n))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		btrfstest.Subvolume(b, filepath.Join(dir, "snapshot"))
		write(b, filepath.Join(dir, "info.xml"), fmt.Sprintf("<?xml version=\"1.0\"?>\n<snapshot><type>single</type><num>%d</num>"+
			"<date>2026-11-23 07:54:00</date><description>20261123T075400Z-257</description></snapshot>\n", n))
	}
	for dir, file := range map[string][2]string{
		"/etc/snapper/configs": {"bench", fmt.Sprintf("SUBVOLUME=%q\nFSTYPE=\"btrfs\"\nBACKGROUND_COMPARISON=\"no\"\n", top)},
		"/etc/default":         {"snapper", "SNAPPER_CONFIGS=\"bench\"\n"},
	} {
		if err := unix.Mount("bench", dir, "tmpfs", 0, ""); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // it goes with the namespace in any case
		write(b, filepath.Join(dir, file[0]), file[1])
	}
	dir := bustest.PublicDir(b)
	write(b, filepath.Join(dir, "bus.conf"), fmt.Sprintf(openBus, filepath.Join(dir, "socket")))
	address := "unix:path=" + filepath.Join(dir, "socket")
	begin(b, exec.Command("dbus-daemon", "--nofork", "--print-address", "--config-file="+filepath.Join(dir, "bus.conf")))
	snapperd := exec.Command("snapperd", "--stdout")
	snapperd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+address)
	begin(b, snapperd)
	return address
}

func write(b *testing.B, path, text string) {
	b.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// begin starts a program, and waits until it says something.
func begin(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // tells that it was killed
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		b.Fatalf("%s: %v", cmd.Path, err)
	}
}

// BenchmarkListAgainstSnapper is the row of lists: 1,000 old roots by ListRoots, 1,000 snapshots by snapperd's ListSnapshots
// and by our GetManagedObjects, in alternation, asked for by the same caller in C, all on one CPU.
func BenchmarkListAgainstSnapper(b *testing.B) {
	pin(b)
	c := startContestants(b)
	snapper := startSnapper(b, benchRoots)
	const name = "org.opensuse.Snapper"
	list := func() float64 {
		return c.callOf(b, snapper, name, 50, "/"+strings.ReplaceAll(name, ".", "/"), name, "ListSnapshots", "snapper")
	}
	list() // it reads its files once
	for b.Loop() {
		var ours, theirs, objects, ratio, saved []float64
		for range benchRounds {
			o, s := c.call(b, c.ours, 50, manager, managerName, "ListRoots", "list"), list()
			m := c.call(b, c.ours, 10, manager, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
			ours, theirs, objects = append(ours, o/1e6), append(theirs, s/1e6), append(objects, m/1e6)
			ratio, saved = append(ratio, o/s), append(saved, m/o)
		}
		report(b, "ours-ms", ours)
		report(b, "snapper-ms", theirs)
		report(b, "objects-ms", objects)
		report(b, "ratio", ratio)
		report(b, "objects/list", saved)
	}
	b.ReportMetric(0, "ns/op")
}
