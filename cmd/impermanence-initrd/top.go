package main

import (
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/persist"
)

// Once its last mount is gone the kernel lets a file system go, and reads it anew for the next: with a thousand old roots either takes it
// longer than a rollover. So the top level stays mounted, from before the root is until the end, at the place where the daemon needs it anyway.

// topName is the name of the top level's mount point in the runtime directory. impermanence-top.service mounts it where the initrd has not.
const topName = "top"

// filesystemOptions returns those options of a root's mount that are the file system's own: the first mount sets them for all that come
// later. known is false where one may be anybody's: then the root's mount has to be the first.
func filesystemOptions(mount btrfsops.RootMount) (options []string, known bool) {
	_, others := persist.MountAttributes(strings.Split(mount.Options, ","))
	for _, option := range others {
		name, _, _ := strings.Cut(option, "=")
		switch {
		case saysNothing(option), strings.HasPrefix(name, "x-"), name == "subvol", name == "subvolid":
		case slices.Contains(btrfsOptions, name):
			options = append(options, option)
		default:
			return nil, false
		}
	}
	return options, true
}
