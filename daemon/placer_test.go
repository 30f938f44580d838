package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/dbus"
)

// TestAReportIsOfTheRunThatWasAskedFor: what the run before left is none, however short ago that was.
func TestAReportIsOfTheRunThatWasAskedFor(t *testing.T) {
	p := unitPlacer{t.TempDir()}
	file := filepath.Join(p.runDir, "persist.json")
	missing := func(earlier os.FileInfo) {
		t.Helper()
		if _, err := p.report(earlier, "failed"); !errors.Is(err, dbus.ErrMountFailed) {
			t.Errorf("without a report: %v", err)
		}
	}
	missing(nil)
	for range 3 {
		earlier, _ := os.Stat(file)
		if err := renameio.WriteFile(file, []byte("{}\n"), 0o644, renameio.WithTempDir(p.runDir)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.report(earlier, "done"); err != nil {
			t.Error(err)
		}
		left, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		missing(left)
	}
}
