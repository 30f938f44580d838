package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/persist"
)

// RecordPath gives where the entries that were added at run time are recorded: on their volume, so that they travel with it.
func RecordPath(volume string) string { return path.Join(volume, ".impermanence/entries.toml") }

// recordFile is where that is below root.
func recordFile(root, volume string) string { return filepath.Join(root, "/", RecordPath(volume)) }

// AddRecorded adds what is recorded on each volume, below root, to the configuration. What is configured itself stays as
// configured. A volume that is not mounted, or has no record, adds nothing. The error is about a record that is wrong, which adds nothing, and
// about what can't be beside what is configured, which is left out: the rest is added all the same, as programs would begin anew without it.
func AddRecorded(root string, c *Config) error {
	d := &decoder{records: map[string]bool{}, misfits: map[string]bool{}}
	var wrong []error
	for _, v := range c.Volumes {
		entries, err := d.recorded(root, v)
		wrong = append(wrong, err)
		d.records[recordFile(root, v.Path)] = true
		d.addWeak(v.Path, entries)
	}
	for len(d.weak) > 0 {
		volumes := make([]persist.Volume, len(c.Volumes))
		for i, v := range c.Volumes {
			volumes[i] = v
			volumes[i].Entries = slices.Clone(v.Entries)
		}
		d.mergeWeak(volumes)
		d.checkEntries(volumes)
		if len(d.misfits) == 0 {
			c.Volumes = volumes
			break
		}
		d.weak = slices.DeleteFunc(d.weak, func(w weakEntry) bool { return d.misfits[w.entry.Target] })
		clear(d.misfits)
	}
	if len(d.problems) > 0 {
		wrong = append(wrong, d.problems)
	}
	return errors.Join(wrong...)
}

// recorded reads the record of a volume; nothing when there is none, or something is wrong with it.
func (d *decoder) recorded(root string, v persist.Volume) ([]persist.Entry, error) {
	file := recordFile(root, v.Path)
	data, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read recorded entries: %w", err)
	}
	before := len(d.problems)
	entries := d.body(file, data, recordPlace(v))
	if len(d.problems) > before {
		return nil, nil
	}
	for i := range entries {
		entries[i].Adopt = true
	}
	return entries, nil
}

// recordPlace is what the entries in the record of a volume have in common.
func recordPlace(v persist.Volume) place {
	return place{volume: v.Path, hide: v.HideMounts, trash: v.AllowTrash, recorded: true}
}

// CheckRecorded tells why entries can't be recorded on their volume: what is written must read as the same again.
func CheckRecorded(volume persist.Volume, entries []persist.Entry) error {
	_, err := formatRecorded(volume, entries)
	return err
}

func formatRecorded(volume persist.Volume, entries []persist.Entry) ([]byte, error) {
	text, err := FormatEntries(volume, entries)
	if err != nil {
		return nil, fmt.Errorf("record entries: %w", err)
	}
	d := &decoder{}
	d.body(RecordPath(volume.Path), text, recordPlace(volume))
	if len(d.problems) > 0 {
		return nil, fmt.Errorf("record entries: %w", d.problems)
	}
	return text, nil
}

// WriteRecorded records entries of a volume, in place of those recorded before: all of them or, after a crash, none. When it
// returns, they are on the disk.
func WriteRecorded(root string, volume persist.Volume, entries []persist.Entry) error {
	file := filepath.Join(root, "/", RecordPath(volume.Path))
	text, err := formatRecorded(volume, entries)
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("record entries: %w", err)
	}
	const head = "# Entries that were added at run time, with `impermanence persist`. Written by the daemon.\n"
	if err := renameio.WriteFile(file, append([]byte(head), text...), 0o600); err != nil {
		return fmt.Errorf("record entries: %w", err)
	}
	for _, changed := range []string{dir, filepath.Dir(dir)} { // renameio syncs the file, not its name
		if err := syncDir(changed); err != nil {
			return fmt.Errorf("record entries: %w", err)
		}
	}
	return nil
}

// ReadRecorded reads the record of a volume: also what gives way to the configuration, or is not right beside it.
func ReadRecorded(root string, v persist.Volume) ([]persist.Entry, error) {
	d := &decoder{}
	entries, err := d.recorded(root, v)
	if err == nil && len(d.problems) > 0 {
		err = d.problems
	}
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// ForgetRoots takes out of the records which root an entry was added in, for those entries, by their targets, that nothing is to
// be taken from there for any more. All entries stay.
func ForgetRoots(root string, c *Config, taken map[string]bool) error {
	if len(taken) == 0 {
		return nil
	}
	var problems []error
	for _, v := range c.Volumes {
		entries, err := ReadRecorded(root, v)
		changed := false
		for i := range entries {
			if e := &entries[i]; taken[e.Target] && e.AddedIn != (persist.RootName{}) {
				e.AddedIn, changed = persist.RootName{}, true
			}
		}
		if err == nil && changed {
			err = WriteRecorded(root, v, entries)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Recorded picks the entries that come from the record on their volume.
func Recorded(root string, c *Config) []persist.Entry {
	var recorded []persist.Entry
	for _, v := range c.Volumes {
		file := recordFile(root, v.Path)
		for _, e := range v.Entries {
			if e.Origin.File == file {
				recorded = append(recorded, e)
			}
		}
	}
	sort.SliceStable(recorded, func(a, b int) bool { return recorded[a].Target < recorded[b].Target })
	return recorded
}
