package main

import (
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
)

// readFstab reads the fstab of the root that is about to be rolled over; "" when it has none.
func readFstab(fs *btrfsops.Filesystem, layout btrfsops.Layout) string {
	data, err := fs.ReadInRoot(layout, "etc/fstab")
	if err != nil {
		return ""
	}
	return string(data)
}

// fstabSubvolumes returns the subvolumes that an fstab mounts, relative to the top level. See fstab(5).
func fstabSubvolumes(fstab string) []string {
	var subvolumes []string
	for line := range strings.Lines(fstab) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || fields[2] != "btrfs" {
			continue
		}
		for option := range strings.SplitSeq(fields[3], ",") {
			if subvolume, found := strings.CutPrefix(option, "subvol="); found {
				subvolumes = append(subvolumes, strings.TrimPrefix(fstabUnescape(subvolume), "/"))
			}
		}
	}
	return subvolumes
}

// fstabUnescape undoes the octal escapes of white space.
func fstabUnescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
