package main

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
)

// readFstab reads the fstab of the root that is about to be rolled over; empty when it has none.
func readFstab(fs *btrfsops.Filesystem, layout btrfsops.Layout) fstab.Table {
	data, err := fs.ReadInRoot(layout, "etc/fstab")
	if err != nil {
		return nil
	}
	return fstab.Parse(string(data))
}

// mountedFstab reads the fstab of the root that is mounted at sysroot; empty when it has none, or not yet.
func mountedFstab(sysroot string) fstab.Table {
	data, err := persist.ReadFile(sysroot, "/etc/fstab")
	if err != nil {
		return nil
	}
	return fstab.Parse(string(data))
}

// mountsBtrfs tells whether what a line mounts is, or may be, a btrfs.
func mountsBtrfs(line fstab.Line) bool {
	types := strings.Split(line.Type, ",")
	return slices.Contains(types, "btrfs") || slices.Contains(types, "auto")
}

// mountedSubvolumes returns the subvolumes that an fstab mounts, relative to the top level. Those that it names by their ids are looked up, as
// they stay mounted wherever they are moved, and then go with an old root.
func mountedSubvolumes(fs *btrfsops.Filesystem, table fstab.Table) ([]string, error) {
	var subvolumes []string
	for _, line := range table {
		if !mountsBtrfs(line) {
			continue
		}
		if subvolume, found := line.Option("subvol"); found {
			subvolumes = append(subvolumes, strings.TrimPrefix(subvolume, "/"))
			continue
		}
		value, _ := line.Option("subvolid")
		id, err := strconv.ParseUint(value, 10, 64)
		if err != nil || !fs.HasDevice(deviceOrNone(line.Spec)) {
			continue // none, or that of another file system
		}
		subvolume, err := fs.PathOf(btrfsops.SubvolumeID(id))
		if err != nil && !errors.Is(err, btrfsops.ErrNoSuchRoot) {
			return nil, err
		}
		subvolumes = append(subvolumes, subvolume)
	}
	return subvolumes, nil
}

// fstabMount returns how an fstab mounts a btrfs; nothing is known when it does not.
func fstabMount(table fstab.Table, mountPoint string) btrfsops.RootMount {
	line, found := table.At(mountPoint)
	if !found || !mountsBtrfs(line) {
		return btrfsops.RootMount{}
	}
	return btrfsops.RootMount{Device: deviceOrNone(line.Spec), Options: strings.Join(line.Options, ","), From: "/etc/fstab"}
}
