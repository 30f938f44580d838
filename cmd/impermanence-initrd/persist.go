package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/persist"
)

// persistRecordName is the name of the report of persist in the runtime directory.
const persistRecordName = "persist.json"

// persistEntries puts all configured entries in place, records what happened, and returns the exit code.
func persistEntries(ctx context.Context, o options, log *logger) int {
	if err := forgetMarks(o.runDir); err != nil {
		log.error("%v", err)
	}
	c, err := config.Load(config.LoadOptions{Path: o.config})
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	if o.sysroot != "/" { // later it is as fstab says
		if err := persist.MakeWritable(o.sysroot); err != nil {
			log.error("%v", err)
		}
		if err := withoutAccessTimes(o.sysroot, c); err != nil {
			log.warning("%v; this boot writes an access time of each file that it reads", err)
		}
		if err := mountVolumes(o.runDir, o.sysroot); err != nil {
			log.error("%v; the system mounts it later", err)
		}
	}
	configured := *c
	errRecorded := config.AddRecorded(o.sysroot, c)
	if errRecorded != nil {
		log.error("%v; the rest goes on", errRecorded)
	}
	if o.sysroot != "/" {
		defer startCommit(o.sysroot, log) // when all is told
	}
	report, err := putInPlace(ctx, o, c, log)
	if errWrite := writeReport(o.runDir, report); errWrite != nil {
		log.error("%v; status will not know of this boot", errWrite)
	}
	if err != nil && o.sysroot != "/" && onlyLater(report) {
		log.info("left to the system: %v", err)
		return exitDone
	}
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	if errRecorded == nil {
		if err := noteDone(o, c, &configured, report); err != nil {
			log.warning("%v", err)
		}
	}
	log.info("%d entries are in place", len(report.Results))
	return exitDone
}

// startCommit has what was just made in the fresh root committed beside the switch of the root. Else systemd-remount-fs.service does, for which
// local-fs.target waits: to remount a btrfs is to commit it.
func startCommit(sysroot string, log *logger) {
	if err := btrfsops.StartCommit(sysroot); err != nil && !errors.Is(err, btrfsops.ErrNotBtrfs) {
		log.warning("%v; the system does so when it mounts the root anew", err)
	}
}

// forgetMarks removes what an earlier run has left, before entries are put in place: where that fails there are none.
func forgetMarks(runDir string) error {
	var failed []error
	for _, name := range []string{settledName, noCopiesName} {
		failed = append(failed, os.RemoveAll(filepath.Join(runDir, name)))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("have the system do all: %w", err)
	}
	return nil
}

// noteDone leaves marks of what the system need not do any more, when all went well. configured is c without what is recorded on volumes.
func noteDone(o options, c, configured *config.Config, report persist.Report) error {
	if o.sysroot != "/" { // the configuration of the initrd may be an older one
		if !isSettled(o, configured, report) {
			return nil
		}
		if err := os.WriteFile(filepath.Join(o.runDir, settledName), nil, 0o644); err != nil {
			return fmt.Errorf("note that all entries are in place: %w", err)
		}
	}
	return noteNoCopies(o.runDir, o.sysroot, c)
}

// putInPlace puts the entries in place. The error is about them.
func putInPlace(ctx context.Context, o options, c *config.Config, log *logger) (persist.Report, error) {
	later, err := laterMounts(o.sysroot)
	if err != nil {
		log.warning("%v; entries are put in place all the same", err)
	}
	entries := c.Entries()
	roots := former.New(former.Options{Config: c, Sysroot: o.sysroot, RunDir: o.runDir, Device: o.device, Warn: log.warning})
	defer roots.Close()
	opts := c.In(o.sysroot)
	opts.KeepGoing, opts.Running, opts.Later = o.keepGoing, daemonRuns(o), pointsOf(later)
	opts.Former, opts.Template = roots.Former, roots.Templates
	report, err := persist.Apply(ctx, opts, entries)
	if o.sysroot != "/" {
		if err := orderAfter(o.runDir, c, report, later); err != nil {
			log.warning("%v", err)
		}
	}
	if err := config.ForgetRoots(o.sysroot, c, taken(o.sysroot, entries, report)); err != nil {
		log.warning("%v; the next boot does that", err)
	}
	return report, err
}

// daemonRuns tells that it is the daemon that has entries put in place, in the running system: it has a runtime directory beside ours, and is
// started after the boot has put them there.
func daemonRuns(o options) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(o.runDir), "impermanenced"))
	return err == nil && o.sysroot == "/"
}

// onlyLater tells whether nothing is wrong but that what places are on is not mounted yet.
func onlyLater(report persist.Report) bool {
	return len(report.Results) > 0 && !slices.ContainsFunc(report.Results, func(r persist.Result) bool {
		return r.Err != nil && !errors.Is(r.Err, persist.ErrNotMounted)
	})
}

// taken picks the entries that a root is recorded for and that nothing is to be taken from it for any more: they are in place, or
// have a source. A crash before that is recorded leaves a name that nobody needs.
func taken(sysroot string, entries []persist.Entry, report persist.Report) map[string]bool {
	var taken map[string]bool
	for i, r := range report.Results {
		if entries[i].AddedIn == (persist.RootName{}) {
			continue
		}
		_, err := os.Lstat(filepath.Join(sysroot, r.Source))
		if err == nil || r.State == persist.InPlace {
			if taken == nil {
				taken = map[string]bool{}
			}
			taken[r.Target] = true
		}
	}
	return taken
}

func writeReport(runDir string, report persist.Report) error {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	data, err := json.Marshal(report)
	if err == nil {
		err = renameio.WriteFile(filepath.Join(runDir, persistRecordName), append(data, '\n'), 0o644, renameio.WithTempDir(runDir))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
