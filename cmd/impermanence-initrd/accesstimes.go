package main

import (
	"slices"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// withoutAccessTimes has reading write nothing to an ephemeral root, as it is mounted at sysroot. What is in it has the access times of the
// template, which are old: with relatime, the kernel's default, each boot would write one at its first reading of each file, and copy for
// that the metadata which the root has in common with the template. A line of the root's fstab that names relatime, strictatime or atime is
// followed: systemd-remount-fs.service does as it says, and leaves alone what it does not name.
func withoutAccessTimes(sysroot string, c *config.Config) error {
	if !slices.ContainsFunc(c.Ephemeral, func(e config.Ephemeral) bool { return e.MountPoint == "/" }) {
		return nil
	}
	line, _ := mountedFstab(sysroot).At("/")
	if _, wanted := line.AccessTimes(); wanted {
		return nil
	}
	return persist.WithoutAccessTimes(sysroot)
}
