package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// feature is something that a boot has to get right. In `make test` it is shown on one stock Debian, or on one of each kind of initrd where
// that has a part in it; in the full tests on all of them.
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
	{"LVM", []distribution{trixieTools, trixieDracut}, testLVM},
	{"a stub that crashes", []distribution{trixieTools}, testCrash},
	{"hibernation", []distribution{trixieDracut, trixieTools}, testHibernation},
	{"a slow disk", []distribution{trixieDracut, bookwormTools}, testSlowDisk},
	{"a damaged template", []distribution{trixieTools}, testDamaged},
	{"LUKS2", []distribution{trixieTools, trixieDracut}, testLUKS},
	{"emergency", []distribution{trixieTools, trixieDracut}, testEmergency},
	{"no configuration in the initrd", []distribution{bookwormDracut}, testNoConfiguration},
	{"a late volume", []distribution{bookwormTools}, testLateVolume},
	{"a volume that persist does not mount", []distribution{trixieDracut}, testNoPersist},
	{"no such device", []distribution{bookwormTools}, testNoDevice},
	{"mounted by id", []distribution{bookwormTools}, testMountedByID},
	{"a full disk", []distribution{bookwormTools}, testFullDisk},
	{"a stub that hangs", []distribution{bookwormTools}, testHang},
	{"power cuts", []distribution{bookwormDracut}, testPowerPulled},
	{"a thousand old roots", []distribution{trixieDracut}, testThousand},
	{"the time it takes", nil, testTime}, // in test-boot-full: a quarter of an hour
	{"removed", []distribution{bookwormTools}, testRemoved},
	{"undone", []distribution{bookwormDracut}, testUndone},
	{"an empty disk", []distribution{trixieTools}, testEmptyDisk},
}

// former leaves a file on the root, by which a boot knows whether it has the former one.
func former(t testing.TB, installed disk) disk {
	t.Helper()
	d := installed.copy(t)
	d.change(t, func(top string) { write(t, filepath.Join(top, rootSubvolume, "opt/former"), "") })
	return d
}

func testAskedToKeep(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	expect(t, vm{disk: d, name: name + "/off", script: "former", cmdline: "impermanence=off", says: "rollover skipped: impermanence=off"})
	expect(t, vm{disk: d, name: name + "/keep", script: "former", cmdline: "impermanence=keep", says: "root kept: impermanence=keep"})
}

// testOldRoot boots an old root that another tool left.
func testOldRoot(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	const old = "2024-11-04_10:33:02"
	d := former(t, installed)
	d.change(t, func(top string) {
		path := filepath.Join(top, "old_roots", old)
		write(t, filepath.Join(top, "old_roots/.keep"), "")
		btrfstest.Run(t, "btrfs", "subvolume", "snapshot", filepath.Join(top, rootSubvolume), path)
		write(t, filepath.Join(path, "opt/restored"), "")
	})
	expect(t, vm{disk: d, name: name, script: "restored", cmdline: "impermanence.root=" + old})
}

// testSlowDisk has a disk that appears 20 s after the initrd has begun to look for it.
func testSlowDisk(t *testing.T, name string, d distribution, installed disk) {
	t.Helper()
	waits := "dracut initqueue hook"
	if d.initrd == "initramfs-tools" {
		waits = "Waiting for root file system"
	}
	expect(t, vm{disk: former(t, installed), name: name, script: "fresh", late: 20 * time.Second, waits: waits})
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
	expect(t, vm{disk: d, name: name, script: "late"})
}

// testNoPersist has a persist that ends before it mounts what the initrd leaves to it.
func testNoPersist(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	expect(t, vm{disk: former(t, installed), name: name, script: "late", overInitrd: map[string]string{
		"usr/lib/systemd/system/impermanence-initrd-persist.service.d/none.conf": "[Service]\nExecStart=\nExecStart=/bin/false\n",
	}})
}

// testNoDevice has a configuration that names a device that is not there.
func testNoDevice(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	config := strings.Replace(installed.config, "UUID="+installed.uuid, "UUID=00000000-0000-4000-8000-000000000000", 1)
	expect(t, vm{disk: former(t, installed), name: name, script: "failed", says: "this boot has no fresh root: ", overInitrd: map[string]string{
		"etc/impermanence/impermanence.toml": config,
	}})
}

// testMountedByID has a kernel command line that would boot the same subvolume for ever, whatever takes the root's place.
func testMountedByID(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	d := former(t, installed)
	d.change(t, func(top string) {
		id := regexp.MustCompile(`Subvolume ID:\s+(\d+)`).FindStringSubmatch(btrfstest.Run(t, "btrfs", "subvolume", "show", filepath.Join(top, rootSubvolume)))
		d.root = "root=UUID=" + d.uuid + " rootflags=subvolid=" + id[1]
	})
	expect(t, vm{disk: d, name: name, script: "failed", says: "this boot has no fresh root: "})
}

func testFullDisk(t *testing.T, name string, _ distribution, installed disk) {
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
	expect(t, vm{disk: d, name: name, script: "full"})
}

// testDamaged has a template whose tree can't be read: both copies of its topmost block are lost.
func testDamaged(t *testing.T, name string, _ distribution, installed disk) {
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
	expect(t, vm{disk: d, name: name, script: "failed", says: "this boot has no fresh root: "})
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
	expect(t, vm{disk: d, name: name, script: "failed", says: "early boot left no record"})
}

const stubPath = "usr/lib/impermanence/impermanence-initrd"

func testCrash(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	expect(t, vm{disk: former(t, installed), name: name, script: "failed", says: "early boot left no record", overInitrd: map[string]string{
		stubPath: "#!/bin/sh\nkill -SEGV $$\n",
	}})
}

// testHang has a stub that never ends.
func testHang(t *testing.T, name string, _ distribution, installed disk) {
	t.Helper()
	expect(t, vm{disk: former(t, installed), name: name, script: "failed", says: "early boot left no record", overInitrd: map[string]string{
		stubPath: "#!/bin/sh\n[ \"$1\" != rollover ] || while :; do sleep 1; done\n",
	}})
}

// testEmergency has a machine that is to stop rather than boot the former root.
func testEmergency(t *testing.T, name string, d distribution, installed disk) {
	t.Helper()
	config := strings.Replace(installed.config, "template = \"root-template\"", "template = \"none\"\nonFailure = \"emergency\"", 1)
	says := "Emergency Mode"
	if d.initrd == "initramfs-tools" {
		says = "impermanence: no fresh root"
	}
	m := vm{disk: former(t, installed), name: name, overInitrd: map[string]string{"etc/impermanence/impermanence.toml": config}, until: []string{says}}
	if _, console := m.run(t); strings.Contains(console, "Multi-User System") {
		t.Errorf("%s: the boot went on:\n%s", name, tail(console))
	}
	// With what the message says, or with the mistake put right, it boots.
	expect(t, vm{disk: m.disk, name: name + "/right", script: "fresh"})
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
	expect(t, vm{disk: d, name: name, script: "removed"})
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
	m := vm{disk: d, name: name + "/sleeps", script: "hibernate", drive: drive, cmdline: "resume=UUID=5afe5afe-0000-4000-8000-000000000000"}
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
