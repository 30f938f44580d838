package setup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestDevicePlans holds how disks and partitions are laid out.
func TestDevicePlans(t *testing.T) {
	esp := Partition{Path: "/dev/sda1", Type: espType, Signature: "vfat", Label: "ESP"}
	var b strings.Builder
	for _, c := range []struct {
		name    string
		facts   DeviceFacts
		options DeviceOptions
	}{
		{"an empty partition", DeviceFacts{Path: "/dev/sda2"}, DeviceOptions{}},
		{"an empty partition, with more subvolumes", DeviceFacts{Path: "/dev/sda2"}, DeviceOptions{Also: []string{"home", "nix"}}},
		{"an empty partition, encrypted", DeviceFacts{Path: "/dev/sda2"}, DeviceOptions{LUKS: true}},
		{"an empty disk, encrypted by a key file", DeviceFacts{Path: "/dev/nvme0n1", Disk: true}, DeviceOptions{LUKS: true, KeyFile: "/key"}},
		{"an empty disk", DeviceFacts{Path: "/dev/sda", Disk: true}, DeviceOptions{}},
		{"a disk with an ESP and free space", DeviceFacts{Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp}, Free: 8 << 30, FreeStart: 1050624}, DeviceOptions{}},
		{"a disk with a gap in the numbers", DeviceFacts{
			Path: "/dev/nvme0n1", Disk: true, Table: "gpt", Free: 8 << 30, FreeStart: 1050624, Partitions: []Partition{{Path: "/dev/nvme0n1p1", Signature: "vfat"}, {Path: "/dev/nvme0n1p4", Signature: "ntfs"}},
		}, DeviceOptions{}},
		{"a disk with an ESP and an empty partition", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType}},
		}, DeviceOptions{}},
		{"a layout that was interrupted", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType, Signature: "btrfs", Label: deviceLabel}},
		}, DeviceOptions{}},
		{"a layout that was interrupted after its partitions were made", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{{Path: "/dev/sda1", Type: espType}, {Path: "/dev/sda2", Type: linuxType}},
		}, DeviceOptions{}},
		{"a partition with a file system", DeviceFacts{Path: "/dev/sda2", Signature: "ext4"}, DeviceOptions{}},
		{"an encrypted layout that was interrupted", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType, Signature: "crypto_LUKS", Label: deviceLabel}},
		}, DeviceOptions{LUKS: true}},
		{"an encrypted layout that was interrupted, and is open", DeviceFacts{
			Path: "/dev/sda2", Signature: "crypto_LUKS", Label: deviceLabel, Opened: "/dev/sda2",
		}, DeviceOptions{LUKS: true, KeyFile: "/key"}},
		{"the same, not to be encrypted", DeviceFacts{
			Path: "/dev/sda2", Signature: "crypto_LUKS", Label: deviceLabel, Opened: "/dev/sda2",
		}, DeviceOptions{}},
		{"a plain layout, to be encrypted", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType, Signature: "btrfs", Label: deviceLabel}},
		}, DeviceOptions{LUKS: true}},
		{"a partition with a plain layout, to be encrypted", DeviceFacts{Path: "/dev/sda2", Signature: "btrfs", Label: deviceLabel}, DeviceOptions{LUKS: true}},
		{"a disk with what somebody else encrypted", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType, Signature: "crypto_LUKS"}},
		}, DeviceOptions{LUKS: true}},
		{"a disk of another system", DeviceFacts{
			Path: "/dev/sda", Disk: true, Table: "gpt", Partitions: []Partition{esp, {Path: "/dev/sda2", Type: linuxType, Signature: "btrfs", Label: "mine"}},
		}, DeviceOptions{}},
		{"a disk with an old table", DeviceFacts{Path: "/dev/sda", Disk: true, Table: "dos", Free: 8 << 30}, DeviceOptions{}},
		{"what is in use", DeviceFacts{Path: "/dev/sda", Disk: true, Busy: "/dev/sda2 is mounted at /"}, DeviceOptions{}},
		{"a bad name", DeviceFacts{Path: "/dev/sda2"}, DeviceOptions{Also: []string{"a/b"}}},
	} {
		fmt.Fprintf(&b, "== %s\n", c.name)
		p, err := PlanDevice(c.facts, c.options)
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n\n", err)
			continue
		}
		for _, command := range p.Commands {
			fmt.Fprintln(&b, command)
		}
		fmt.Fprintf(&b, "subvolumes: %s\n%s\n\n", strings.Join(p.Subvolumes, " "), strings.Join(p.Notes, "\n"))
	}
	golden(t, "devices", b.String())
}

// TestDeviceIsLaidOut lays out a real device, twice: the second time nothing is left to do.
func TestDeviceIsLaidOut(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 256<<20))
	device := btrfstest.Attach(t, image)
	var said []string
	for range 2 {
		f, err := GatherDevice(t.Context(), device)
		must(t, err)
		p, err := PlanDevice(f, DeviceOptions{Also: []string{"home"}})
		must(t, err)
		said = nil
		must(t, ApplyDevice(t.Context(), p, nil, t.Output(), func(what string) { said = append(said, what) }))
	}
	if strings.HasPrefix(said[0], "mkfs") {
		t.Errorf("the second time it did %q", said)
	}
	top := filepath.Join(t.TempDir(), "top")
	btrfstest.Mount(t, device, top, "subvolid=5")
	entries, err := os.ReadDir(top)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != "home old_roots persist root" {
		t.Errorf("it has %q", names)
	}
	f, err := GatherDevice(t.Context(), device)
	must(t, err)
	if _, err := PlanDevice(f, DeviceOptions{}); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "mounted at") {
		t.Errorf("while it is mounted: %v", err)
	}
}

// TestWhatUsesAPartition looks at a real device with partitions, before and while one of them is mounted.
func TestWhatUsesAPartition(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 512<<20))
	btrfstest.Run(t, "sh", "-c", "printf 'label: gpt\nsize=64MiB, type="+espType+"\ntype="+linuxType+"\n' | sfdisk --quiet "+image)
	device := btrfstest.Attach(t, image)
	btrfstest.Run(t, "partx", "--update", device)
	defer btrfstest.Run(t, "partx", "--delete", device)
	f, err := GatherDevice(t.Context(), device)
	must(t, err)
	if f.Busy != "" || f.Table != "gpt" || len(f.Partitions) != 2 || f.Partitions[1].Path != device+"p2" {
		t.Errorf("got %+v", f)
	}
	btrfstest.Run(t, "mkfs.btrfs", "--quiet", device+"p2")
	point := filepath.Join(t.TempDir(), "point")
	btrfstest.Mount(t, device+"p2", point, "subvolid=5")
	f, err = GatherDevice(t.Context(), device)
	must(t, err)
	if f.Busy != device+"p2 is mounted at "+point {
		t.Errorf("while it is mounted: %+v", f)
	}
	btrfstest.Unmount(t, point)
}

// TestAllProgramsAreThereFirst holds that a disk is not left half laid out for want of a program.
func TestAllProgramsAreThereFirst(t *testing.T) {
	p := DevicePlan{Commands: []Command{{Args: []string{"touch", filepath.Join(t.TempDir(), "changed")}}, {Args: []string{"mkfs.none"}}}}
	if err := ApplyDevice(t.Context(), p, nil, t.Output(), func(string) {}); !errors.Is(err, ErrNoProgram) || !strings.Contains(err.Error(), "mkfs.none") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(p.Commands[0].Args[1]); err == nil {
		t.Error("something was changed")
	}
}

// TestPartitionTables has sfdisk carry out what is planned for disks, on files: an ESP that is there stays as it is, to the byte.
func TestPartitionTables(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(disk, nil, 0o600))
	must(t, os.Truncate(disk, 4<<30))
	// The number 2 is free, and so is a small piece before the third.
	table := "'label: gpt\nsize=64MiB, type=" + espType + "\nstart=204800, size=64MiB\nstart=409600, size=64MiB, type=swap\n'"
	btrfstest.Run(t, "sh", "-c", "printf "+table+" | sfdisk --quiet "+disk+" && sfdisk --quiet --delete "+disk+" 2")
	const start = 1 << 20 // of the first partition
	file, err := os.OpenFile(disk, os.O_RDWR, 0)
	must(t, err)
	defer func() { _ = file.Close() }()
	boot := bytes.Repeat([]byte("boot loader"), 1000)
	_, err = file.WriteAt(boot, start)
	must(t, err)
	f := DeviceFacts{Path: disk, Disk: true, Table: "gpt"}
	must(t, f.partitions(t.Context()))
	if len(f.Partitions) != 2 || f.Partitions[0].Size != 64<<20 || f.Free < 3<<30 {
		t.Fatalf("got %+v", f)
	}
	p, err := PlanDevice(f, DeviceOptions{})
	must(t, err)
	cmd := exec.Command(p.Commands[0].Args[0], p.Commands[0].Args[1:]...)
	cmd.Stdin = strings.NewReader(p.Commands[0].Input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	after := DeviceFacts{Path: disk, Disk: true, Table: "gpt"}
	must(t, after.partitions(t.Context()))
	made := slices.IndexFunc(after.Partitions, func(made Partition) bool { return made.Path == p.Filesystem })
	if len(after.Partitions) != 3 || after.Partitions[0].Type != espType || after.Partitions[0].Size != 64<<20 ||
		made < 0 || after.Partitions[made].Type != linuxType || after.Partitions[made].Size < 3<<30 {
		t.Errorf("got %+v", after.Partitions)
	}
	now := make([]byte, len(boot))
	_, err = file.ReadAt(now, start)
	must(t, err)
	if !bytes.Equal(now, boot) {
		t.Error("the ESP was changed")
	}
}

// TestLUKS formats as planned. To open it takes a device mapper, which not every machine that tests this has.
func TestLUKS(t *testing.T) {
	dir := t.TempDir()
	device, key := filepath.Join(dir, "device"), filepath.Join(dir, "key")
	must(t, os.WriteFile(key, []byte("secret"), 0o600))
	must(t, os.WriteFile(device, nil, 0o600))
	must(t, os.Truncate(device, 64<<20))
	p, err := PlanDevice(DeviceFacts{Path: device}, DeviceOptions{LUKS: true, KeyFile: key})
	must(t, err)
	args := append([]string{"--pbkdf-memory=32768", "--pbkdf-force-iterations=4"}, p.Commands[0].Args[1:]...)
	btrfstest.Run(t, p.Commands[0].Args[0], args...)
	btrfstest.Run(t, "cryptsetup", "isLuks", "--type", "luks2", device)
	btrfstest.Run(t, "cryptsetup", "open", "--test-passphrase", "--key-file", key, device)
	found, err := machine.Probe(t.Context(), device)
	signature, label := found["TYPE"], found["LABEL"]
	if err != nil || signature != "crypto_LUKS" || label != deviceLabel {
		t.Errorf("it has %q, %q, %v", signature, label, err)
	}
	p, err = PlanDevice(DeviceFacts{Path: device, Signature: signature, Label: label}, DeviceOptions{LUKS: true, KeyFile: key})
	if err != nil || p.Commands[0].Args[1] != "open" {
		t.Errorf("a second time: %v, %v", p.Commands, err)
	}
}

// TestUdevIsWaitedFor: between two steps no partition goes away.
func TestUdevIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for _, name := range []string{"udevadm", "partition"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho "+name+" $1 >>"+log+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	p := DevicePlan{Filesystem: filepath.Join(dir, "none"), Commands: []Command{{Args: []string{"partition", "1"}}, {Args: []string{"partition", "2"}}}}
	if err := ApplyDevice(t.Context(), p, nil, t.Output(), func(string) {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	done, err := os.ReadFile(log)
	if want := "partition 1\nudevadm settle\npartition 2\nudevadm settle\n"; err != nil || string(done) != want {
		t.Errorf("done %q, %v", done, err)
	}
}
