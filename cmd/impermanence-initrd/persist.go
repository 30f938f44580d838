package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// persistRecordName is the name of the report of persist in the runtime directory.
const persistRecordName = "persist.json"

// persistEntries puts all configured entries in place, records what happened, and returns the exit code.
func persistEntries(ctx context.Context, o options, log *logger) int {
	c, err := config.Load(config.LoadOptions{Path: o.config})
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	if err := config.AddRecorded(o.sysroot, c); err != nil {
		log.error("%v; what is configured goes on", err)
	}
	entries := c.Entries()
	if o.sysroot != "/" { // later it is as fstab says
		if err := persist.MakeWritable(o.sysroot); err != nil {
			log.error("%v", err)
		}
	}
	roots := newOtherRoots(o.runDir, c, log)
	defer roots.close()
	report, err := persist.Apply(ctx, persist.Options{
		Sysroot: o.sysroot, KeepGoing: o.keepGoing, Former: roots.former(o.sysroot, entries), Template: roots.template,
	}, entries)
	if errWrite := writeReport(o.runDir, report); errWrite != nil {
		log.error("%v; status will not know of this boot", errWrite)
	}
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	log.info("%d entries are in place", len(report.Results))
	return exitDone
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
