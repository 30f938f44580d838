package main

import (
	"path"
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

// fstabRow is one btrfs mount of an fstab; what of it matters here. See fstab(5).
type fstabRow struct{ mountPoint, options string }

func fstabRows(fstab string) []fstabRow {
	var rows []fstabRow
	for line := range strings.Lines(fstab) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || fields[2] != "btrfs" {
			continue
		}
		rows = append(rows, fstabRow{fstabUnescape(fields[1]), fstabUnescape(fields[3])})
	}
	return rows
}

// fstabSubvolumes returns the subvolumes that an fstab mounts, relative to the top level.
func fstabSubvolumes(fstab string) []string {
	var subvolumes []string
	for _, row := range fstabRows(fstab) {
		for option := range strings.SplitSeq(row.options, ",") {
			if subvolume, found := strings.CutPrefix(option, "subvol="); found {
				subvolumes = append(subvolumes, strings.TrimPrefix(subvolume, "/"))
			}
		}
	}
	return subvolumes
}

// fstabOptions returns the options with which an fstab mounts a btrfs; false when it does not.
func fstabOptions(fstab, mountPoint string) (options string, found bool) {
	for _, row := range fstabRows(fstab) {
		if path.Clean(row.mountPoint) == mountPoint {
			options, found = row.options, true
		}
	}
	return options, found
}

// fstabUnescape undoes the octal escapes of white space.
func fstabUnescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
