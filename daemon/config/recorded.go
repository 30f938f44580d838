package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/persist"
)

// RecordPath gives where the entries that were added at run time are recorded: on their volume, so that they travel with it.
func RecordPath(volume string) string { return path.Join(volume, ".impermanence/entries.toml") }

// AddRecorded adds what is recorded on each volume, below root, to the configuration. What is configured itself stays as
// configured. A volume that is not mounted, or has no record, adds nothing. On an error the configuration is as before.
func AddRecorded(root string, c *Config) error {
	d := &decoder{}
	for _, v := range c.Volumes {
		file := filepath.Join(root, "/", RecordPath(v.Path))
		data, err := readFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read recorded entries: %w", err)
		}
		d.addWeak(v.Path, d.body(file, data, place{volume: v.Path, hide: v.HideMounts, trash: v.AllowTrash}))
	}
	volumes := make([]persist.Volume, len(c.Volumes))
	for i, v := range c.Volumes {
		volumes[i] = v
		volumes[i].Entries = append([]persist.Entry(nil), v.Entries...)
	}
	d.mergeWeak(volumes)
	d.checkEntries(volumes)
	if len(d.problems) > 0 {
		return d.problems
	}
	c.Volumes = volumes
	return nil
}

// WriteRecorded records entries of a volume, in place of those recorded before: all of them or, after a crash, none.
func WriteRecorded(root string, volume persist.Volume, entries []persist.Entry) error {
	file := filepath.Join(root, "/", RecordPath(volume.Path))
	text, err := FormatEntries(volume, entries)
	if err != nil {
		return fmt.Errorf("record entries: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("record entries: %w", err)
	}
	const head = "# Entries that were added at run time, with `impermanence persist`. Written by the daemon.\n"
	if err := renameio.WriteFile(file, append([]byte(head), text...), 0o600); err != nil {
		return fmt.Errorf("record entries: %w", err)
	}
	return nil
}

// Recorded picks the entries that come from the record on their volume.
func Recorded(root string, c *Config) []persist.Entry {
	var recorded []persist.Entry
	for _, v := range c.Volumes {
		file := filepath.Join(root, "/", RecordPath(v.Path))
		for _, e := range v.Entries {
			if e.Origin.File == file {
				recorded = append(recorded, e)
			}
		}
	}
	sort.SliceStable(recorded, func(a, b int) bool { return recorded[a].Target < recorded[b].Target })
	return recorded
}
