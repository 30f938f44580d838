package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
)

// unitDirs are where systemd looks for units, the first that has one wins: systemd.unit(5).
var unitDirs = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/lib/systemd/system", "/run/systemd/generator.late",
}

// rootMount finds out how this boot will mount a root. A systemd initrd has made a unit of all that decides it (the kernel
// command line, its own fstab, what dracut was built with); without one the kernel command line tells of "/", and fstab of
// all else.
func (b *boot) rootMount(e config.Ephemeral, device string) btrfsops.RootMount {
	if e.MountPoint != "/" {
		options, found := mountOptions(b.fstab, e.MountPoint)
		if !found {
			return btrfsops.RootMount{}
		}
		return btrfsops.RootMount{Options: options, From: "/etc/fstab"}
	}
	if unit := findUnit(unitDirs, "sysroot.mount"); unit != "" {
		return readRootUnit(unit)
	}
	if !sameDevice(b.root, device) {
		return btrfsops.RootMount{}
	}
	return btrfsops.RootMount{Options: b.rootflags, From: "rootflags= on the kernel command line"}
}

// readRootUnit reads the unit that mounts the root. A masked one tells nothing: something else mounts the root.
func readRootUnit(unit string) btrfsops.RootMount {
	data, err := os.ReadFile(unit)
	if err != nil || len(data) == 0 {
		return btrfsops.RootMount{}
	}
	return btrfsops.RootMount{Options: mountUnitOptions(data), From: unit}
}

// findUnit returns the file of a unit, "" when there is none.
func findUnit(dirs []string, name string) string {
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// mountUnitOptions returns the last Options= of a mount unit.
func mountUnitOptions(unit []byte) string {
	options, section := "", ""
	for lines := bufio.NewScanner(bytes.NewReader(unit)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if value, found := strings.CutPrefix(line, "Options="); found && section == "[Mount]" {
			options = strings.ReplaceAll(value, "%%", "%") // systemd's specifiers
		}
	}
	return options
}

// sameDevice says whether root= of the kernel command line names a device. What it says otherwise (root=fstab,
// root=gpt-auto, nothing) leaves it to the initrd.
func sameDevice(root, device string) bool {
	name, err := btrfsops.ResolveDevice(root)
	if err != nil {
		return false
	}
	if name == device {
		return true
	}
	a, err := os.Stat(name)
	if err != nil {
		return false
	}
	other, err := os.Stat(device)
	return err == nil && os.SameFile(a, other)
}
