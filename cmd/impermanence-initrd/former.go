package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
)

// formerRoots opens the roots that this boot replaced, by mount point, as long as an entry is to be adopted from one. What
// can't be opened is told in the error, and left out; the rest is good.
func formerRoots(o options, c *config.Config) (map[string]string, io.Closer, error) {
	var opened closers
	if !adopts(o.sysroot, c) {
		return nil, opened, nil
	}
	records, err := btrfsops.ReadBootRecords(filepath.Join(o.runDir, btrfsops.BootRecordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, opened, nil
	}
	former, problems := map[string]string{}, []error{err}
	for _, record := range records {
		if record.Report.Former == 0 || record.Device == "" {
			continue
		}
		dir, err := opened.openFormer(record, c)
		if err != nil {
			problems = append(problems, fmt.Errorf("open the former root of %s: %w", record.MountPoint, err))
			continue
		}
		former[record.MountPoint] = dir
	}
	return former, opened, errors.Join(problems...)
}

// adopts tells whether there is an entry that was added while the system ran and that has no source yet.
func adopts(sysroot string, c *config.Config) bool {
	for _, e := range c.Entries() {
		if !e.Adopt {
			continue
		}
		if _, err := os.Lstat(filepath.Join(sysroot, e.Source)); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// closers are what is open, closed in reverse.
type closers []io.Closer

func (c closers) Close() error {
	var problems []error
	for i := len(c) - 1; i >= 0; i-- {
		problems = append(problems, c[i].Close())
	}
	return errors.Join(problems...)
}

// openFormer opens the former root of one ephemeral mount point and gives the path of the descriptor.
func (c *closers) openFormer(record btrfsops.BootRecord, cfg *config.Config) (string, error) {
	for _, e := range cfg.Ephemeral {
		if e.MountPoint != record.MountPoint {
			continue
		}
		filesystem, err := btrfsops.OpenDevice(record.Device)
		if err != nil {
			return "", err
		}
		*c = append(*c, filesystem)
		root, err := filesystem.OpenOldRoot(btrfsops.Layout{Root: e.Subvolume, OldRoots: e.OldRoots, Template: e.Template}, record.Report.Former)
		if err != nil {
			return "", err
		}
		*c = append(*c, root)
		return fmt.Sprintf("/proc/self/fd/%d", root.Fd()), nil
	}
	return "", errors.New("it is not configured any more")
}
