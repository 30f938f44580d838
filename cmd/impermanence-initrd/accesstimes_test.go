package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestAccessTimes(t *testing.T) {
	m := newRunningMachine(t)
	for fstab, want := range map[string]string{
		"":                                  "noatime",
		"UUID=1 / btrfs defaults 0 0\n":     "noatime",
		"UUID=1 / btrfs noatime 0 0\n":      "noatime",
		"UUID=1 / btrfs nosuid,relatime\n":  "relatime",
		"UUID=1 / btrfs strictatime\n":      "relatime", // not yet
		"UUID=1 /home btrfs relatime 0 0\n": "noatime",
	} {
		m.write(t, "sysroot/etc/fstab", fstab)
		for root, want := range map[string]string{"/": want, "/home": "relatime"} {
			before := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_RELATIME, Attr_clr: unix.MOUNT_ATTR__ATIME}
			if err := unix.MountSetattr(unix.AT_FDCWD, m.sysroot(), 0, &before); err != nil {
				t.Fatal(err)
			}
			if err := withoutAccessTimes(m.sysroot(), &config.Config{Ephemeral: []config.Ephemeral{{MountPoint: root}}}); err != nil {
				t.Fatal(err)
			}
			options := btrfstest.Run(t, "findmnt", "--noheadings", "--output=VFS-OPTIONS", m.sysroot())
			if !strings.Contains(options, ","+want) || !strings.Contains(options, "nodev") {
				t.Errorf("%q, where %s is ephemeral: mounted with %s, want %s", fstab, root, options, want)
			}
		}
	}
}
