package daemon

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/impermanence/impermanence/btrfsops"
)

// mountTable is what is mounted.
type mountTable struct {
	byPoint map[string]*mountinfo.Info // of mounts on top of each other, the topmost
	print   uint64                     // differs when any btrfs mount does
}

// btrfs is the name of the file system type.
const btrfs = "btrfs"

// readMounts reads the mount table of this process.
func readMounts() (mountTable, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return mountTable{}, fmt.Errorf("read mounts: %w", err)
	}
	table := mountTable{byPoint: make(map[string]*mountinfo.Info, len(mounts))}
	print := fnv.New64a()
	for _, m := range mounts {
		table.byPoint[m.Mountpoint] = m
		if m.FSType == btrfs {
			fmt.Fprintln(print, m.ID, m.Mountpoint, m.VFSOptions)
		}
	}
	table.print = print.Sum64()
	return table, nil
}

// at returns the btrfs mount at dir, nil when there is none.
func (t mountTable) at(dir string) *mountinfo.Info {
	if m := t.byPoint[dir]; m != nil && m.FSType == btrfs {
		return m
	}
	return nil
}

// holding returns the btrfs mount that path is on, nil when it is on another file system.
func (t mountTable) holding(path string) *mountinfo.Info {
	for t.byPoint[path] == nil && path != "/" {
		path = filepath.Dir(path)
	}
	return t.at(path)
}

// mountedSubvolume returns the id of the subvolume that is mounted; 0 for no mount.
func mountedSubvolume(m *mountinfo.Info) btrfsops.SubvolumeID {
	if m == nil {
		return 0
	}
	for option := range strings.SplitSeq(m.VFSOptions, ",") {
		if value, found := strings.CutPrefix(option, "subvolid="); found {
			id, _ := strconv.ParseUint(value, 10, 64)
			return btrfsops.SubvolumeID(id)
		}
	}
	return 0
}

// numberOf is the number of the file system that is mounted: one for each, whatever part of it.
func numberOf(m *mountinfo.Info) string { return fmt.Sprintf("%d:%d", m.Major, m.Minor) }
