package btrfsops

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Outcome is what a boot did with a root.
type Outcome string

// The outcomes.
const (
	OutcomeFresh    Outcome = "fresh"    // rolled over: the root is fresh
	OutcomeRestored Outcome = "restored" // rolled over: the root is a copy of an old root
	OutcomeKept     Outcome = "kept"     // the root is the one of the last boot, as somebody asked
	OutcomeSkipped  Outcome = "skipped"  // nothing was done, as somebody asked
	OutcomeFailed   Outcome = "failed"   // nothing was done, against what was configured
)

// BootRecord is what early boot did for one ephemeral mount point. It is how status, long after, knows.
type BootRecord struct {
	MountPoint string         `json:"mountPoint"`
	BootID     string         `json:"bootID"`
	Time       time.Time      `json:"time"`
	Outcome    Outcome        `json:"outcome"`
	Reason     string         `json:"reason,omitempty"` // who asked for it, for kept, skipped and restored
	Error      string         `json:"error,omitempty"`  // what went wrong; with fresh: what the next boot will put right; with kept: why the next boot keeps it too
	Device     string         `json:"device,omitempty"`
	Report     RolloverReport `json:"report"`
}

// BootRecordName is the name of the file with the boot records in the runtime directory.
const BootRecordName = "boot.json"

// WriteBootRecords writes the records of a boot into the runtime directory, which is made when it is missing.
func WriteBootRecords(runtimeDir string, records []BootRecord) error {
	data, err := json.MarshalIndent(records, "", "  ")
	if err != nil {
		return fmt.Errorf("write boot records: %w", err)
	}
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return fmt.Errorf("write boot records: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(runtimeDir, BootRecordName), append(data, '\n'), 0o644, renameio.WithTempDir(runtimeDir)); err != nil {
		return fmt.Errorf("write boot records: %w", err)
	}
	return nil
}

// ReadBootRecords reads what WriteBootRecords wrote. A file that is not there is fs.ErrNotExist: early boot did not run.
func ReadBootRecords(path string) ([]BootRecord, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read boot records: %w", err)
	}
	var records []BootRecord
	if err := json.Unmarshal(data, &records); err != nil {
		return nil, fmt.Errorf("read boot records from %s: %w", path, err)
	}
	return records, nil
}

// BootID is the id that the kernel gives this boot: what RolloverOptions and SnapshotOptions ask for. Source: random(4).
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}
