package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// feature is something that a boot has to get right. In `make test` it is shown on one stock Debian, or on one of each kind of initrd where
// that has a part in it, and where the kernel and devices have none, in a container; in the full tests on all of them, in a machine.
type feature struct {
	name string
	on   []distribution
	test func(t *testing.T, name string, d distribution, installed disk)
}

var (
	bookwormDracut = distribution{"bookworm", "dracut"}
	bookwormTools  = distribution{"bookworm", "initramfs-tools"}
	trixieDracut   = distribution{"trixie", "dracut"}
	trixieTools    = distribution{"trixie", "initramfs-tools"}
)

var features = []feature{
	{"asked to keep", []distribution{trixieDracut}, testAskedToKeep},
	{"an old root", []distribution{trixieDracut}, testOldRoot},
	{"LVM on a slow disk", []distribution{trixieTools, trixieDracut}, testSlowLVM},
	{"a stub that crashes", []distribution{trixieDracut}, testCrash},
	{"hibernation", []distribution{trixieDracut, trixieTools}, testHibernation},
	{"a damaged template", []distribution{bookwormDracut}, testDamaged},
	{"LUKS2", []distribution{trixieDracut}, testLUKS},
	{"emergency", []distribution{trixieTools, trixieDracut}, testEmergency},
	{"no configuration in the initrd", []distribution{bookwormDracut}, testNoConfiguration},
	{"a late volume", []distribution{bookwormTools}, testLateVolume},
	{"a volume that persist does not mount", []distribution{trixieDracut}, testNoPersist},
	{"no such device", []distribution{bookwormTools}, testNoDevice},
	{"mounted by id", []distribution{bookwormDracut}, testMountedByID},
	{"a full disk", []distribution{bookwormDracut}, testFullDisk},
	{"a stub that hangs", []distribution{bookwormTools}, testHang},
	{"power cuts", []distribution{bookwormDracut}, testPowerPulled},
	{"a thousand old roots", []distribution{trixieDracut}, testThousand},
	{"the time it takes", nil, testTime}, // in test-boot-full: a quarter of an hour
	{"removed", []distribution{bookwormTools}, testRemoved},
	{"undone", []distribution{bookwormDracut}, testUndone},
	{"an empty disk", []distribution{trixieTools}, testEmptyDisk},
}

// former leaves a file on the root, by which a boot knows whether it has the former one. The machine has been booted before: a first boot
// enables all units anew, which takes an emulated one half a minute.
func former(t testing.TB, installed disk) disk {
	t.Helper()
	d := installed.copy(t)
	d.change(t, func(top string) {
		write(t, filepath.Join(top, rootSubvolume, "opt/former"), "")
		for _, root := range []string{rootSubvolume, "persist"} {
			write(t, filepath.Join(top, root, "etc/machine-id"), machineID)
		}
	})
	return d
}

// machineID is the id of a machine that has been booted.
const machineID = "0123456789abcdef0123456789abcdef\n"

func testAskedToKeep(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	expect(t, machine{disk: d, contained: on.contained(), name: name + "/off", script: "former", cmdline: "impermanence=off", says: "rollover skipped: impermanence=off"})
	expect(t, machine{disk: d, contained: on.contained(), name: name + "/keep", script: "former", cmdline: "impermanence=keep", says: "root kept: impermanence=keep"})
}

// testOldRoot boots an old root that another tool left.
func testOldRoot(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	const old = "2024-11-04_10:33:02"
	d := former(t, installed)
	d.change(t, func(top string) {
		path := filepath.Join(top, "old_roots", old)
		write(t, filepath.Join(top, "old_roots/.keep"), "")
		btrfstest.Run(t, "btrfs", "subvolume", "snapshot", filepath.Join(top, rootSubvolume), path)
		write(t, filepath.Join(path, "opt/restored"), "")
	})
	expect(t, machine{disk: d, contained: on.contained(), name: name, script: "restored", cmdline: "impermanence.root=" + old})
}

// changeTemplate changes the template, which is read-only otherwise.
func changeTemplate(t *testing.T, top string, change func(template string)) {
	t.Helper()
	template := filepath.Join(top, "root-template")
	btrfstest.Run(t, "btrfs", "property", "set", template, "ro", "false")
	change(template)
	btrfstest.Run(t, "btrfs", "property", "set", template, "ro", "true")
}

// testLateVolume has a persistent volume that is mounted by the system, not by its initrd.
func testLateVolume(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		changeTemplate(t, top, func(template string) {
			fstab := filepath.Join(template, "etc/fstab")
			write(t, fstab, strings.Replace(read(t, fstab), ",x-initrd.mount", "", 1))
		})
	})
	expect(t, machine{disk: d, name: name, script: "late"})
}

// testNoPersist has a persist that ends before it mounts what the initrd leaves to it.
func testNoPersist(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	expect(t, machine{disk: former(t, installed), name: name, script: "late", overInitrd: map[string]string{
		"usr/lib/systemd/system/impermanence-initrd-persist.service.d/none.conf": "[Service]\nExecStart=\nExecStart=/bin/false\n",
	}})
}

// testNoDevice has a configuration that names a device that is not there.
func testNoDevice(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	config := strings.Replace(installed.config, "UUID="+installed.uuid, "UUID=00000000-0000-4000-8000-000000000000", 1)
	expect(t, machine{disk: former(t, installed), name: name, script: "failed", says: "this boot has no fresh root: ", overInitrd: map[string]string{
		"etc/impermanence/impermanence.toml": config,
	}})
}

// testMountedByID has a kernel command line that would boot the same subvolume for ever, whatever takes the root's place.
func testMountedByID(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		id := regexp.MustCompile(`Subvolume ID:\s+(\d+)`).FindStringSubmatch(btrfstest.Run(t, "btrfs", "subvolume", "show", filepath.Join(top, rootSubvolume)))
		d.root = "root=UUID=" + d.uuid + " rootflags=subvolid=" + id[1]
	})
	expect(t, machine{disk: d, contained: on.contained(), name: name, script: "failed", says: "this boot has no fresh root: "})
}

func testFullDisk(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		f, err := os.Create(filepath.Join(top, "persist/filler"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		// Ever smaller pieces, until there is no room for the smallest.
		end := int64(0)
		for size := int64(1 << 30); size >= 4096; size /= 2 {
			for unix.Fallocate(int(f.Fd()), 0, end, size) == nil {
				end += size
			}
		}
	})
	expect(t, machine{disk: d, contained: on.contained(), name: name, script: "full"})
}

// testDamaged has a template whose tree can't be read: both copies of its topmost block are lost.
func testDamaged(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	var id string
	d.change(t, func(top string) {
		id = regexp.MustCompile(`Subvolume ID:\s+(\d+)`).FindStringSubmatch(btrfstest.Run(t, "btrfs", "subvolume", "show", filepath.Join(top, "root-template")))[1]
	})
	tree := btrfstest.Run(t, "btrfs", "inspect-internal", "dump-tree", "--tree", id, "--hide-names", d.image)
	block := regexp.MustCompile(`(?m)^(?:node|leaf) (\d+) `).FindStringSubmatch(tree)
	if block == nil {
		t.Fatalf("no block in the tree of subvolume %s:\n%.500s", id, tree)
	}
	copies := regexp.MustCompile(`physical (\d+)`).FindAllStringSubmatch(btrfstest.Run(t, "btrfs-map-logical", "-l", block[1], d.image), -1)
	if len(copies) < 2 {
		t.Fatalf("block %s has %d copies", block[1], len(copies))
	}
	for _, c := range copies {
		btrfstest.Run(t, "dd", "if=/dev/zero", "of="+d.image, "bs=4096", "count=4", "conv=notrunc", "oflag=seek_bytes", "seek="+c[1])
	}
	expect(t, machine{disk: d, contained: on.contained(), name: name, script: "failed", says: "this boot has no fresh root: "})
}

// testNoConfiguration has an initrd that was made before the machine was configured.
func testNoConfiguration(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		chroot(t, root, "sh", "-e", "-c", "mv /etc/impermanence /etc/later; "+on.remake()+"; mv /etc/later /etc/impermanence")
		d.useInitrd(t, root)
	})
	expect(t, machine{disk: d, contained: on.contained(), name: name, script: "failed", says: "early boot left no record"})
}

const stubPath = "usr/lib/impermanence/impermanence-initrd"

func testCrash(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	expect(t, machine{
		disk: former(t, installed), contained: on.contained(), name: name, script: "failed", says: "early boot left no record",
		overInitrd: map[string]string{stubPath: "#!/bin/sh\nkill -SEGV $$\n"},
	})
}

// testHang has a stub that never ends, and waits for it ten seconds rather than a minute.
func testHang(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	over := map[string]string{stubPath: "#!/bin/sh\n[ \"$1\" != rollover ] || while :; do sleep 1; done\n"}
	const premount, service = "local-premount/impermanence", "impermanence-rollover.service"
	over["scripts/"+premount] = sooner(t, "initramfs-tools/scripts/"+premount, "limited 60 ", "limited 10 ")
	over["usr/lib/systemd/system/"+service] = sooner(t, "initrd/"+service, "TimeoutStartSec=60s", "TimeoutStartSec=10s")
	expect(t, machine{disk: former(t, installed), name: name, script: "failed", says: "early boot left no record", overInitrd: over})
}

// sooner is a file of ours with a limit that is reached sooner.
func sooner(t *testing.T, path, limit, shorter string) string {
	t.Helper()
	text := read(t, "../../systemd-units/"+path)
	if strings.Count(text, limit) != 1 {
		t.Fatalf("%s has not one %q", path, limit)
	}
	return strings.Replace(text, limit, shorter, 1)
}

// testEmergency has a machine that is to stop rather than boot the former root.
func testEmergency(t *testing.T, name string, on distribution, installed disk) {
	t.Helper()
	config := strings.Replace(installed.config, "template = \"root-template\"", "template = \"none\"\nonFailure = \"emergency\"", 1)
	says := "Emergency Mode"
	if on.initrd == "initramfs-tools" {
		says = "impermanence: no fresh root"
	}
	m := machine{disk: former(t, installed), contained: on.contained(), name: name, until: says, overInitrd: map[string]string{
		"etc/impermanence/impermanence.toml": config,
	}}
	if _, console := m.run(t); strings.Contains(console, "Multi-User System") {
		t.Errorf("%s: the boot went on:\n%s", name, tail(console))
	}
	m.disk.change(t, func(top string) {
		if _, err := os.Stat(filepath.Join(top, rootSubvolume, "opt/former")); err != nil {
			t.Errorf("the former root is not where it was: %v", err)
		}
	})
}

// testRemoved removes the package of an impermanent machine.
func testRemoved(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		root := filepath.Join(top, rootSubvolume)
		chroot(t, root, "dpkg", "--remove", "impermanence")
		d.useInitrd(t, root)
	})
	expect(t, machine{disk: d, name: name, script: "removed"})
}

// testHibernation hibernates a machine, and starts it again: it resumes.
func testHibernation(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	swap := filepath.Join(t.TempDir(), "swap")
	write(t, swap, "")
	if err := os.Truncate(swap, 2<<30); err != nil {
		t.Fatal(err)
	}
	btrfstest.Run(t, "mkswap", "--uuid", "5afe5afe-0000-4000-8000-000000000000", swap)
	drive := append(qemuDrive(d.image), anotherDisk("swap", swap)...)
	m := machine{disk: d, name: name + "/sleeps", script: "hibernate", drive: drive, cmdline: "resume=UUID=5afe5afe-0000-4000-8000-000000000000"}
	if lines, _ := m.run(t); strings.Contains(strings.Join(lines, "\n"), "on again") {
		t.Fatalf("%s: the machine did not hibernate: %s", name, lines)
	}
	m.name = name + "/resumes"
	expect(t, m)
}

// qemuDrive is a disk in another form than the plain image.
func qemuDrive(path string) []string {
	return []string{"-drive", "if=none,id=root,format=raw,cache=unsafe,discard=unmap,file=" + path}
}

// anotherDisk is a disk beside the root's; the guest sees its name as the serial number.
func anotherDisk(name, path string) []string {
	return []string{"-drive", "if=none,id=" + name + ",format=raw,cache=unsafe,file=" + path, "-device", "virtio-blk-pci,drive=" + name + ",serial=" + name}
}
