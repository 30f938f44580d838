package setup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/impermanence/impermanence/daemon/machine"
)

// DeviceOptions are what is asked of the layout of an empty disk.
type DeviceOptions struct {
	Device  string
	LUKS    bool
	KeyFile string   // of the passphrase; "": it is asked for
	Also    []string // subvolumes beside root and persist, each mounted at its own name: home, nix
}

// DeviceFacts are what was found out about a disk or a partition, without having changed anything.
type DeviceFacts struct {
	Path       string
	Disk       bool   // it takes partitions; a loop device, a logical volume or an array is used whole
	Busy       string // what uses it: where it, or a part of it, is mounted, or what is made of it
	Opened     string // the LUKS container, it or a part of it, that is open by our name and not in use
	Signature  string // of what is on it; "" for nothing
	Label      string // of a file system on it
	Table      string // "gpt", "dos"; "" for none
	Partitions []Partition
	Free       uint64 // bytes outside partitions, in the largest piece
	FreeStart  uint64 // the first sector of that
}

// Partition is one of a disk's.
type Partition struct {
	Path, Type, Signature, Label string
	Size                         uint64
}

// Types of partitions in a GPT.
const (
	espType   = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	linuxType = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
)

const (
	// deviceLabel is of the file system, and of the LUKS container around it: a layout that was interrupted is known by it.
	deviceLabel = "impermanence"
	mapped      = "/dev/mapper/" + deviceLabel
	espSize     = "512MiB"
	leastFree   = 1 << 30
)

// Why a device is not laid out.
var (
	ErrNoDevice  = errors.New("no block device")
	ErrNotEmpty  = errors.New("the device is not empty") // nothing is ever wiped
	ErrNoProgram = errors.New("a program of fdisk, dosfstools, cryptsetup or btrfs-progs is not installed")
)

// GatherDevice looks at a device.
func GatherDevice(ctx context.Context, device string) (DeviceFacts, error) {
	path, err := filepath.EvalSymlinks(device)
	if err != nil {
		return DeviceFacts{}, fmt.Errorf("find the device: %w", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeDevice {
		return DeviceFacts{}, cmp.Or(err, fmt.Errorf("%s is %w", device, ErrNoDevice))
	}
	f := DeviceFacts{Path: path}
	var listed struct {
		BlockDevices []blockDevice `json:"blockdevices"`
	}
	// With NAME it is a tree; else partitions would stand beside their disk.
	if err := output(ctx, &listed, "lsblk", "--json", "--bytes", "--output", "NAME,PATH,TYPE,MOUNTPOINTS", path); err != nil {
		return f, err
	}
	if len(listed.BlockDevices) != 1 {
		return f, fmt.Errorf("%s is %w", device, ErrNoDevice)
	}
	f.look(listed.BlockDevices[0])
	found, err := machine.Probe(ctx, path)
	if err != nil {
		return f, err
	}
	f.Signature, f.Label, f.Table = found["TYPE"], found["LABEL"], found["PTTYPE"]
	if f.Table == "" {
		return f, nil
	}
	return f, f.partitions(ctx)
}

// blockDevice is what lsblk says of one.
type blockDevice struct {
	Name        string
	Path, Type  string
	Mountpoints []*string
	Children    []blockDevice
}

// look finds out what a device is, and what uses it.
func (f *DeviceFacts) look(d blockDevice) {
	f.Disk = d.Type == "disk"
	for _, part := range append([]blockDevice{d}, d.Children...) {
		for _, point := range part.Mountpoints {
			if point != nil && f.Busy == "" {
				f.Busy = fmt.Sprintf("%s is mounted at %s", part.Path, *point)
			}
		}
		for _, child := range part.Children {
			switch {
			case child.Type == "part":
			case child.Path == mapped && child.idle():
				f.Opened = part.Path
			case f.Busy == "":
				f.Busy = fmt.Sprintf("%s is made of %s", child.Path, part.Path)
			}
		}
	}
}

// idle tells that nothing is mounted from a device or made of it.
func (d blockDevice) idle() bool {
	return len(d.Children) == 0 && !slices.ContainsFunc(d.Mountpoints, func(point *string) bool { return point != nil })
}

// partitions reads the partition table.
func (f *DeviceFacts) partitions(ctx context.Context) error {
	var dumped struct {
		Table struct {
			SectorSize uint64 `json:"sectorsize"`
			Partitions []struct {
				Node, Type string
				Size       uint64
			}
		} `json:"partitiontable"`
	}
	if err := output(ctx, &dumped, "sfdisk", "--json", f.Path); err != nil {
		return err
	}
	for _, p := range dumped.Table.Partitions {
		found, err := machine.Probe(ctx, p.Node)
		if err != nil {
			return err
		}
		f.Partitions = append(f.Partitions, Partition{
			Path: p.Node, Type: p.Type, Signature: found["TYPE"], Label: found["LABEL"], Size: p.Size * dumped.Table.SectorSize,
		})
	}
	out, err := machine.Output(ctx, "sfdisk", "--list-free", "--bytes", "--quiet", "--output", "Start,Size", f.Path)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		// The first and the last column; sfdisk 2.38 prints more than it was asked for. The first line is a heading.
		start, err1 := strconv.ParseUint(words[0], 10, 64)
		size, err2 := strconv.ParseUint(words[len(words)-1], 10, 64)
		if err1 == nil && err2 == nil && size > f.Free {
			f.Free, f.FreeStart = size, start
		}
	}
	return nil
}

// output runs a program and reads the JSON that it prints.
func output(ctx context.Context, v any, name string, args ...string) error {
	out, err := machine.Output(ctx, name, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("read what %s prints: %w", name, err)
	}
	return nil
}

// DevicePlan is how a device is laid out.
type DevicePlan struct {
	Commands   []Command
	Filesystem string   // the device that the file system is on
	Subvolumes []string // to make on it, with the old roots' directory
	Notes      []string
}

// Command is a program to run, with what it reads.
type Command struct {
	Args    []string
	Input   string
	IfEmpty string // the device that nothing may be on, or it is not run; "": it is run
}

// String is the command as one would type it.
func (c Command) String() string {
	line := strings.Join(c.Args, " ")
	if c.IfEmpty != "" {
		line = fmt.Sprintf("blkid --probe %s || %s", c.IfEmpty, line)
	}
	if c.Input != "" {
		line = fmt.Sprintf("echo '%s' | %s", strings.TrimSpace(c.Input), line)
	}
	return line
}

// PlanDevice decides how a device is laid out: a partition becomes a file system; on a disk a partition is made for it, with an EFI
// system partition where there is no partition table yet. What is there stays as it is. It is pure.
func PlanDevice(f DeviceFacts, o DeviceOptions) (DevicePlan, error) {
	p := DevicePlan{Subvolumes: append([]string{"root", "persist"}, o.Also...)}
	if f.Busy != "" {
		return p, fmt.Errorf("%w: %s", ErrNotEmpty, f.Busy)
	}
	if f.Opened != "" && !o.LUKS {
		return p, fmt.Errorf("%w: %s is made of %s", ErrNotEmpty, mapped, f.Opened)
	}
	for _, name := range o.Also {
		if strings.ContainsAny(name, "/\x00 ") || name == "" || name == "old_roots" || slices.Contains(p.Subvolumes[:2], name) {
			return p, fmt.Errorf("%w: %q is no name for one more subvolume", ErrTaken, name)
		}
	}
	target, found := f.target(o)
	if !found {
		return p, fmt.Errorf("%w: %s", ErrNotEmpty, f.why())
	}
	switch {
	case target.Path != "":
		for _, esp := range f.Partitions { // one that was made before the layout was interrupted
			if esp.Type == espType && esp.Signature == "" {
				p.run("", "mkfs.vfat", "-F", "32", "-n", "ESP", esp.Path)
			}
		}
	case f.Table == "":
		p.run("label: gpt\nsize="+espSize+", type="+espType+", name=ESP\ntype="+linuxType+", name="+deviceLabel+"\n", "sfdisk", "--quiet", f.Path)
		p.run("", "mkfs.vfat", "-F", "32", "-n", "ESP", partition(f.Path, 1))
		target.Path = partition(f.Path, 2)
	default:
		p.run(fmt.Sprintf("start=%d, type=%s, name=%s\n", f.FreeStart, linuxType, deviceLabel), "sfdisk", "--quiet", "--append", f.Path)
		target.Path = partition(f.Path, f.freeNumber())
	}
	if o.LUKS {
		p.container(target, o, f.Opened == target.Path)
	} else {
		p.Filesystem = target.Path
		if target.Signature == "" {
			p.run("", mkfs(p.Filesystem)...)
		}
	}
	p.installing()
	return p, nil
}

func (p *DevicePlan) run(input string, args ...string) {
	p.Commands = append(p.Commands, Command{Args: args, Input: input})
}

// target finds where the file system goes: the device itself, a partition that is empty or was begun with, or (with no path) one
// that is still to be made.
func (f DeviceFacts) target(o DeviceOptions) (Partition, bool) {
	here := Partition{Path: f.Path, Signature: f.Signature, Label: f.Label}
	signature := "btrfs"
	if o.LUKS {
		signature = "crypto_LUKS"
	}
	begun := func(p Partition) bool { return p.Signature == "" || p.Signature == signature && p.Label == deviceLabel }
	if !f.Disk || f.Signature != "" {
		return here, f.Table == "" && begun(here)
	}
	if f.Table == "" {
		return Partition{}, true
	}
	for _, p := range f.Partitions {
		if p.Type == linuxType && begun(p) {
			return p, true
		}
	}
	return Partition{}, f.Table == "gpt" && f.Free >= leastFree
}

// why says what is in the way.
func (f DeviceFacts) why() string {
	switch {
	case f.Signature != "":
		return fmt.Sprintf("%s has %s on it; if that is to go: wipefs --all %s", f.Path, f.Signature, f.Path)
	case f.Table != "gpt":
		return fmt.Sprintf("%s has a partition table of type %s, not gpt", f.Path, f.Table)
	default:
		full := ""
		for _, p := range f.Partitions {
			if p.Type == linuxType && p.Signature != "" {
				full += fmt.Sprintf("; %s has %s on it, if that is to go: wipefs --all %[1]s", p.Path, p.Signature)
			}
		}
		return fmt.Sprintf("%s has no empty Linux partition, and less than 1 GiB free outside of partitions%s", f.Path, full)
	}
}

// freeNumber is the first number that no partition has: sfdisk gives it to one that is appended.
func (f DeviceFacts) freeNumber() int {
	for n := 1; ; n++ {
		if !slices.ContainsFunc(f.Partitions, func(p Partition) bool { return p.Path == partition(f.Path, n) }) {
			return n
		}
	}
}

// container plans the file system inside LUKS. Of one that was begun with it can only be said what is in it when it is open.
func (p *DevicePlan) container(target Partition, o DeviceOptions, opened bool) {
	key := []string{}
	if o.KeyFile != "" {
		key = []string{"--key-file", o.KeyFile}
	}
	if target.Signature == "" {
		p.run("", slices.Concat([]string{"cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--label", deviceLabel}, key, []string{target.Path})...)
	}
	if !opened {
		p.run("", slices.Concat([]string{"cryptsetup", "open"}, key, []string{target.Path, deviceLabel})...)
	}
	p.Filesystem = mapped
	command := Command{Args: mkfs(mapped)}
	if target.Signature != "" {
		command.IfEmpty = mapped
	}
	p.Commands = append(p.Commands, command)
	p.Notes = append(p.Notes, fmt.Sprintf("for crypttab(5): %s UUID=$(blkid -s UUID -o value %s) none luks,discard", deviceLabel, target.Path))
}

// mkfs makes a file system, where there is none: without --force it overwrites nothing.
func mkfs(device string) []string {
	return []string{"mkfs.btrfs", "--quiet", "--label", deviceLabel, device}
}

// installing notes how to go on.
func (p *DevicePlan) installing() {
	p.Notes = append(p.Notes, fmt.Sprintf("to install into it: mount -o subvol=root %s /mnt, and below it", p.Filesystem))
	for _, name := range p.Subvolumes[1:] {
		p.Notes = append(p.Notes, fmt.Sprintf("  mount --mkdir -o subvol=%s %s /mnt/%s", name, p.Filesystem, name))
	}
	p.Notes = append(p.Notes, "then, when the system is installed: impermanence setup --root /mnt")
}

// partition names the n-th partition of a disk, as the kernel does.
func partition(disk string, n int) string {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		return fmt.Sprintf("%sp%d", disk, n)
	}
	return fmt.Sprintf("%s%d", disk, n)
}
