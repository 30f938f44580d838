package main

import (
	"os"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
)

// rootMount finds out how this boot will mount a root. A systemd initrd has made a unit of all that decides it (the kernel
// command line, its own fstab, what dracut was built with); without one the kernel command line tells of "/", and fstab of
// all else.
func (b *boot) rootMount(e config.Ephemeral) btrfsops.RootMount {
	if e.MountPoint != "/" {
		return fstabMount(b.fstab, e.MountPoint)
	}
	if mount, found := readMountUnit(unitDirs, "sysroot.mount"); found {
		mount.Device = deviceOrNone(mount.Device)
		return mount
	}
	device := deviceOrNone(b.root)
	if _, err := os.Stat(device); err != nil {
		return btrfsops.RootMount{} // root=fstab, root=gpt-auto, nothing: the initrd decides
	}
	return btrfsops.RootMount{Device: device, Options: b.rootflags, From: "rootflags= on the kernel command line"}
}

// deviceOrNone is the path of a device, "" for what names none.
func deviceOrNone(spec string) string {
	device, err := btrfsops.ResolveDevice(spec)
	if err != nil {
		return ""
	}
	return device
}
