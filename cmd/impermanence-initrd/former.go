package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// otherRoots are the roots that this boot had to do with beside the fresh ones: those that it replaced, and those that it made
// copies of. They are opened only when somebody asks.
type otherRoots struct {
	records []btrfsops.BootRecord
	config  *config.Config
	log     *logger
	disks   map[string]*btrfsops.Filesystem // by device
	opened  []io.Closer
}

// newOtherRoots reads what rollover left. Without a record there are none.
func newOtherRoots(runDir string, c *config.Config, log *logger) *otherRoots {
	records, err := btrfsops.ReadBootRecords(filepath.Join(runDir, btrfsops.BootRecordName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.warning("%v; nothing is taken from the former root", err)
	}
	return &otherRoots{records: records, config: c, log: log, disks: map[string]*btrfsops.Filesystem{}}
}

func (o *otherRoots) close() {
	for i := len(o.opened) - 1; i >= 0; i-- {
		_ = o.opened[i].Close() // only read from
	}
}

// former gives where the former roots are, by mount point, as long as an entry is to be adopted from one.
func (o *otherRoots) former(sysroot string, entries []persist.Entry) map[string]string {
	if !adopts(sysroot, entries) {
		return nil
	}
	return o.each("former root", func(disk *btrfsops.Filesystem, l btrfsops.Layout, r btrfsops.RolloverReport) (*os.File, error) {
		if r.Former == 0 {
			return nil, nil
		}
		return disk.OpenOldRoot(l, r.Former)
	})
}

// template gives where what the roots are copies of is, by mount point: for a root that was kept, the template that is configured.
func (o *otherRoots) template() map[string]string {
	return o.each("template", func(disk *btrfsops.Filesystem, l btrfsops.Layout, r btrfsops.RolloverReport) (*os.File, error) {
		source := cmp.Or(r.Source, l.Template)
		if source == "" {
			return nil, nil
		}
		return disk.OpenSubvolume(source)
	})
}

// adopts tells whether there is an entry that was added while the system ran and that has no source yet.
func adopts(sysroot string, entries []persist.Entry) bool {
	for _, e := range entries {
		if !e.Adopt {
			continue
		}
		if _, err := os.Lstat(filepath.Join(sysroot, e.Source)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// each opens something for each root and gives the paths of the descriptors. What can't be opened is
// logged and left out.
func (o *otherRoots) each(what string, open func(*btrfsops.Filesystem, btrfsops.Layout, btrfsops.RolloverReport) (*os.File, error)) map[string]string {
	paths := map[string]string{}
	for _, record := range o.records {
		for _, e := range o.config.Ephemeral {
			if e.MountPoint != record.MountPoint || record.Device == "" {
				continue
			}
			disk, err := o.disk(record.Device)
			var root *os.File
			if err == nil {
				root, err = open(disk, btrfsops.Layout{Root: e.Subvolume, OldRoots: e.OldRoots, Template: e.Template}, record.Report)
			}
			if err != nil {
				o.log.warning("open the %s of %s: %v", what, e.MountPoint, err)
			} else if root != nil {
				o.opened = append(o.opened, root)
				paths[e.MountPoint] = fmt.Sprintf("/proc/self/fd/%d", root.Fd())
			}
		}
	}
	return paths
}

// disk opens a file system once.
func (o *otherRoots) disk(device string) (*btrfsops.Filesystem, error) {
	if disk := o.disks[device]; disk != nil {
		return disk, nil
	}
	disk, err := btrfsops.OpenDevice(device)
	if err == nil {
		o.disks[device] = disk
		o.opened = append(o.opened, disk)
	}
	return disk, err
}
