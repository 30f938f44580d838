package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
)

// Once its last mount is gone the kernel lets a file system go, and reads it anew for the next: with a thousand old roots either takes it
// longer than a rollover. So the top level stays mounted, from before the root is until the end, at the place where the daemon needs it anyway.

// topName is the name of the top level's mount point in the runtime directory. impermanence-top.service mounts it where the initrd has not.
const topName = "top"

// keptOptions returns the options to mount the top level with for it to stay mounted: those of the root's mount that are the file system's own,
// as the first mount sets them for all that come later. keep is false where it is not to stay, or one of them may be anybody's: then the root's
// mount has to be the first, and all that is taken is what a file system that has lost a disk is mounted with.
func (b *boot) keptOptions(e config.Ephemeral, mount btrfsops.RootMount) (options []string, keep bool) {
	all := strings.Split(mount.Options, ",")
	needed := slices.DeleteFunc(slices.Clone(all), func(option string) bool { return option != "degraded" })
	if !b.keepMounted || e.MountPoint != "/" || mount.From == "" {
		return needed, false
	}
	isForAnother := func(option string) bool { // for who mounts, or for the subvolume
		name, _, _ := strings.Cut(option, "=")
		return strings.HasPrefix(name, "x-") || name == "subvol" || name == "subvolid"
	}
	_, options, known := splitOptions(slices.DeleteFunc(all, isForAnother))
	if !known {
		return needed, false
	}
	return options, true
}

// leaveMounted leaves the top level mounted for the root's mount, and for the daemon.
func (b *boot) leaveMounted(fs *btrfsops.Filesystem) {
	if err := fs.LeaveMounted(filepath.Join(b.runDir, topName)); err != nil {
		b.log.warning("%v; the root takes longer to mount", err)
	}
}
