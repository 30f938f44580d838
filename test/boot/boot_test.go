package boot

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// fullEnv asks for every feature on every machine, when it is set.
const fullEnv = "IMPERMANENCE_TEST_BOOT_FULL"

// TestBoot starts each stock Debian three times with each kind of initrd, and shows each feature on one of them. It starts one machine at a time:
// their disks are copies, btrfs takes two file systems with one UUID for one, and so does nspawn with two containers.
func TestBoot(t *testing.T) {
	makePackage(t)
	full := os.Getenv(fullEnv) != ""
	for _, d := range []distribution{bookwormDracut, bookwormTools, trixieDracut, trixieTools} {
		t.Run(d.String(), func(t *testing.T) {
			installed := install(t, d)
			t.Run("three times", func(t *testing.T) { testThreeTimes(t, d, installed.copy(t)) })
			for _, f := range features {
				if full || slices.Contains(f.on, d) {
					t.Run(f.name, func(t *testing.T) { f.test(t, d.String()+"/"+f.name, d, installed) })
				}
			}
		})
	}
}

// testThreeTimes boots a machine three times from one disk.
func testThreeTimes(t *testing.T, on distribution, d disk) {
	t.Helper()
	m := machine{disk: d, stops: true}
	for _, m.script = range []string{"first", "second", "third"} {
		m.name = on.String() + "/" + m.script
		m.contained = m.script == "third" && on.contained()
		expect(t, m)
	}
}

// expect starts a machine, and fails for each check in it that failed.
func expect(t *testing.T, m machine) (console string) {
	t.Helper()
	_, console = results(t, m)
	return console
}

// results is expect for who reads what the checks have printed.
func results(t *testing.T, m machine) (lines []string, console string) {
	t.Helper()
	lines, console = m.run(t)
	for _, line := range lines {
		if strings.HasPrefix(line, "FAIL ") {
			t.Errorf("%s: %s", m.name, line)
		} else {
			t.Logf("%s: %s", m.name, line)
		}
	}
	if lines[len(lines)-1] != "end" {
		t.Errorf("%s: the checks did not end; the machine's last words:\n%s", m.name, tail(console))
	}
	return lines, console
}

// packages is where the package is that is installed: a directory of its own, since other tests make packages at the same time.
const packages = "bin/packages-of-machines"

func makePackage(t testing.TB) {
	t.Helper()
	btrfstest.Run(t, "make", "-C", "../..", "--no-print-directory", "packages", "PACKAGES="+packages)
}
