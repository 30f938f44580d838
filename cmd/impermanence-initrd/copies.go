package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// noCopiesName is the name of a mark in the runtime directory: no entry is copied, so that the services that copy back have nothing to do
// and are not started. The daemon has another one for when this is no longer so.
const noCopiesName = "no-copies"

// noteNoCopies leaves the mark when no entry is copied, nor can be: a volume that is not there may have others recorded.
func noteNoCopies(runDir, sysroot string, c *config.Config) error {
	copied := func(e persist.Entry) bool { return e.Method == persist.Copy }
	if slices.ContainsFunc(c.Entries(), copied) || !c.VolumesMounted(sysroot) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(runDir, noCopiesName), nil, 0o644); err != nil {
		return fmt.Errorf("note that nothing is copied back: %w", err)
	}
	return nil
}
