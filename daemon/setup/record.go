package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/machine"
)

// recordFile is where a set-up writes what it changes, before it does: from there it is resumed and undone. It is a part of the
// template, so that fresh roots have it.
const recordFile = "/etc/impermanence/setup.json"

const recordVersion = 1

// Record is what a set-up changes.
type Record struct {
	Version     int                  `json:"version"`
	RootID      btrfsops.SubvolumeID `json:"rootID"` // the root that it was begun in
	Layout      btrfsops.Layout      `json:"layout"`
	Volume      string               `json:"volume"`      // subvolume of the persistent volume
	Point       string               `json:"point"`       // where it is mounted
	NewVolume   bool                 `json:"newVolume"`   // it was not there before
	NewOldRoots bool                 `json:"newOldRoots"` // they were not there before
	FilledIn    uint64               `json:"filledIn"`    // the transaction that changed the volume last when the set-up had copied all to it; 0 until then, or where others wrote to it
	Files       []FileChange         `json:"files"`
	Units       []string             `json:"units"`  // that were not enabled before
	Grub        []string             `json:"grub"`   // the command that makes grub.cfg anew; none when it stays
	Initrd      []string             `json:"initrd"` // the command that builds the initrd; none when nothing known does
	NoInitrd    bool                 `json:"noInitrd"`
	PutBack     []string             `json:"putBack"` // the places of entries that an undoing has put back so far
	Updates     [][]string           `json:"updates"` // the commands that do what the root's first boot would; none when it was booted
}

// FileChange is a file's text before and after.
type FileChange struct {
	Path    string  `json:"path"`
	Former  *string `json:"former"` // nil: it was not there
	Written string  `json:"written"`
}

// change is what a set-up makes of a file; found is false when it leaves it as it is.
func (r Record) change(name string) (c FileChange, found bool) {
	i := slices.IndexFunc(r.Files, func(c FileChange) bool { return c.Path == name })
	if i < 0 {
		return c, false
	}
	return r.Files[i], true
}

// readRecord reads the record below root; nil when there is none.
func readRecord(root string) (*Record, error) {
	text, err := os.ReadFile(filepath.Join(root, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of the set-up: %w", err)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("read the record of the set-up: %s: %w", recordFile, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("read the record of the set-up: %s has version %d, not %d", recordFile, r.Version, recordVersion)
	}
	return &r, nil
}

func (r Record) write(root string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record the set-up: %w", err)
	}
	return writeFile(root, recordFile, string(text)+"\n", 0o600)
}

// writeFile replaces a file below root, all of it or nothing, and makes its directory when that is missing. The mode of one that
// is there stays.
func writeFile(root, name, text string, mode os.FileMode) error {
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if target, err := filepath.EvalSymlinks(file); err == nil && machine.Within(target, filepath.Clean(root)) {
		file = target
	}
	if now, err := os.ReadFile(file); err == nil && string(now) == text {
		return nil
	}
	if err := renameio.WriteFile(file, []byte(text), mode, renameio.WithExistingPermissions()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Op is one kind of step.
type Op uint8

// The steps of a set-up, and of undoing one.
const (
	WriteRecord    Op = iota // what is about to change
	MakeVolume               // the persistent volume's subvolume, and its mount point
	MakeOldRoots             // the directory of the old roots
	WriteFile                // Text to Path
	EnableUnits              // Names
	RunCommand               // Names, in the machine
	MakeTemplate             // from the root: seed the volume from it, clean it, make it read-only
	PutBack                  // what is kept on the volume into the root
	RemoveTemplate           // and the former one
	RestoreFile              // Path, as it was
	DisableUnits             // Names
	RemoveVolume             // if it holds nothing that the root does not
	SetAside                 // Path, a file of the configuration that a person wrote
	RemoveOldRoots           // if there are none
	RemoveRecord
)

// Step is one thing to do.
type Step struct {
	Op    Op
	Path  string
	Text  string
	Names []string
}

// commands are to be run after files have changed; the initrd's not when somebody else builds it.
func (r Record) commands(noInitrd bool) []Step {
	var steps []Step
	if len(r.Grub) > 0 {
		steps = append(steps, Step{Op: RunCommand, Names: r.Grub})
	}
	if len(r.Initrd) > 0 && !noInitrd {
		steps = append(steps, Step{Op: RunCommand, Names: r.Initrd})
	}
	return steps
}

// steps are the steps of a set-up, in order. Each may be done again; the template is the last, and what
// makes the machine impermanent.
func (r Record) steps() []Step {
	steps := []Step{{Op: WriteRecord, Path: recordFile}, {Op: MakeVolume, Path: r.Volume}, {Op: MakeOldRoots, Path: r.Layout.OldRoots}}
	for _, change := range r.Files {
		steps = append(steps, Step{Op: WriteFile, Path: change.Path, Text: change.Written})
	}
	if len(r.Units) > 0 {
		steps = append(steps, Step{Op: EnableUnits, Names: r.Units})
	}
	for _, command := range r.Updates {
		steps = append(steps, Step{Op: RunCommand, Names: command})
	}
	steps = append(steps, r.commands(r.NoInitrd)...)
	steps = append(steps, Step{Op: MakeTemplate, Path: r.Layout.Template})
	return steps
}

// undoSteps are the steps back. What is kept comes into the root first; then the template goes, without which nothing is rolled
// over any more; the volume goes when fstab no longer mounts it and while the configuration still says what is kept on it; the
// record goes last.
func (r Record) undoSteps(aside []string, noInitrd bool) []Step {
	steps := []Step{{Op: PutBack, Path: r.Volume}}
	steps = append(steps, Step{Op: RemoveTemplate, Path: r.Layout.Template})
	for _, change := range r.Files {
		if change.Path != configFile {
			steps = append(steps, Step{Op: RestoreFile, Path: change.Path})
		}
	}
	if len(r.Units) > 0 {
		steps = append(steps, Step{Op: DisableUnits, Names: r.Units})
	}
	if r.NewVolume {
		steps = append(steps, Step{Op: RemoveVolume, Path: r.Volume})
	}
	for _, name := range aside {
		steps = append(steps, Step{Op: SetAside, Path: name})
	}
	steps = append(steps, Step{Op: RestoreFile, Path: configFile})
	steps = append(steps, r.commands(noInitrd)...)
	if r.NewOldRoots {
		steps = append(steps, Step{Op: RemoveOldRoots, Path: r.Layout.OldRoots})
	}
	return append(steps, Step{Op: RemoveRecord, Path: recordFile})
}

// String says what a step does, as a line of a plan.
func (s Step) String() string {
	switch s.Op {
	case WriteRecord:
		return "record what is about to change in " + s.Path
	case MakeVolume:
		return "make the persistent volume: subvolume " + s.Path
	case MakeOldRoots:
		return "make the directory of the old roots: " + s.Path
	case WriteFile:
		return "write " + s.Path
	case EnableUnits:
		return "enable " + strings.Join(s.Names, " ")
	case RunCommand:
		return "run " + strings.Join(s.Names, " ")
	case MakeTemplate:
		return "make the template " + s.Path + " from the root, with what is to persist copied to the volume"
	case PutBack:
		return "copy what is kept on " + s.Path + " into the root"
	case RemoveTemplate:
		return "delete the template " + s.Path
	case RestoreFile:
		return "restore " + s.Path
	case DisableUnits:
		return "disable " + strings.Join(s.Names, " ")
	case RemoveVolume:
		return "delete the subvolume " + s.Path + " if it holds nothing that the root does not"
	case SetAside:
		return "set " + s.Path + " aside, as " + s.Path + asideSuffix
	case RemoveOldRoots:
		return "delete " + s.Path + " if there are no old roots"
	case RemoveRecord:
		return "remove " + s.Path
	}
	return "unknown step"
}
