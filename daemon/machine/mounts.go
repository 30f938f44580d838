package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Mount is a file system mounted in a machine's tree.
type Mount struct {
	Point     string // as the machine sees it: "/" for the root itself
	Type      string
	Source    string // the device
	Subvolume string // of a btrfs, relative to the top level; "" for the top level
	Inner     string // path below the subvolume that is mounted here, when it is not the whole of it; "" for the whole
	Options   string // of the mount and of the file system
}

// ErrNotMounted is returned for a directory that no file system is mounted at.
var ErrNotMounted = errors.New("not a mount point")

// Mounts lists what is mounted at root and below it, the root first. Where several are mounted at one place it is the last.
// Errors: ErrNotMounted.
func Mounts(root string) ([]Mount, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("find mounts: %w", err)
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("find mounts: %w", err)
	}
	for _, dir := range BootPlaces { // systemd mounts them when they are opened
		_, _ = os.ReadDir(filepath.Join(root, dir))
	}
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(root))
	if err != nil {
		return nil, fmt.Errorf("find mounts: %w", err)
	}
	var mounts []Mount
	at := map[string]int{}
	for _, info := range infos {
		m := newMount(root, info)
		if i, seen := at[m.Point]; seen {
			mounts[i] = m
			continue
		}
		at[m.Point] = len(mounts)
		mounts = append(mounts, m)
	}
	i, found := at["/"]
	if !found {
		return nil, fmt.Errorf("%s: %w", root, ErrNotMounted)
	}
	mounts[0], mounts[i] = mounts[i], mounts[0]
	return mounts, nil
}

func newMount(root string, info *mountinfo.Info) Mount {
	m := Mount{
		Point:   filepath.Join("/", strings.TrimPrefix(info.Mountpoint, root)),
		Type:    info.FSType,
		Source:  info.Source,
		Options: info.Options + "," + info.VFSOptions,
	}
	for option := range strings.SplitSeq(info.VFSOptions, ",") {
		if subvolume, found := strings.CutPrefix(option, "subvol="); found && info.FSType == "btrfs" {
			m.Subvolume = strings.TrimPrefix(subvolume, "/")
			m.Inner = strings.Trim(strings.TrimPrefix(info.Root, subvolume), "/")
		}
	}
	return m
}

// On gives the mount that a path of the machine lies on.
func On(mounts []Mount, path string) Mount {
	var best Mount
	for _, m := range mounts {
		if Within(path, m.Point) && len(m.Point) >= len(best.Point) {
			best = m
		}
	}
	return best
}

// Within tells whether a clean path is dir or lies below it.
func Within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
