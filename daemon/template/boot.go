package template

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
)

// grubEnvironment is the running system's: what it wants of the next boot.
const grubEnvironment = "grubenv"

// files lists what is below a directory and no directory itself, by its path there. A missing directory has none.
func files(dir string) (map[string]bool, error) {
	found := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return filepath.SkipDir
		}
		if err == nil && !entry.IsDir() {
			rel, errRel := filepath.Rel(dir, path)
			found[rel] = true
			err = errRel
		}
		return err
	})
	return found, err
}

// mirror copies what a boot directory has to another, file by file, each whole or not at all: first what is loaded, then what names it, and
// then takes away what was in the former one and no longer is. So a boot in between finds all that it may be about to load. What is apart from
// the root, by its name there, stays as it is.
func mirror(from, to string, former map[string]bool, apart func(name string) bool) error {
	wanted, err := files(from)
	if err != nil {
		return fmt.Errorf("read /boot of the template: %w", err)
	}
	for _, name := range loadedFirst(from, wanted) {
		if apart(name) {
			continue
		}
		if err := mirrorFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return fmt.Errorf("copy /boot/%s: %w", name, err)
		}
	}
	for name := range former {
		if wanted[name] || apart(name) {
			continue
		}
		if err := os.Remove(filepath.Join(to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove /boot/%s: %w", name, err)
		}
	}
	return nil
}

// apart tells what in /boot is no part of the root: what lies on a file system that is mounted there, as the EFI system partition, whatever the
// template has below it; what an entry keeps; and what the running system wants of the next boot.
func (t *Template) apart(name string) bool {
	place := filepath.Join("/boot", name)
	return filepath.Base(name) == grubEnvironment || t.isApart(place) ||
		slices.ContainsFunc(t.config.Entries(), func(e persist.Entry) bool { return machine.Within(place, e.Target) })
}

// loadedFirst sorts files: what is loaded comes before the configuration and the symlinks that name it.
func loadedFirst(dir string, names map[string]bool) []string {
	var loaded, naming []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		info, err := os.Lstat(filepath.Join(dir, name))
		if isConfiguration(name) || err == nil && info.Mode()&fs.ModeSymlink != 0 {
			naming = append(naming, name)
		} else {
			loaded = append(loaded, name)
		}
	}
	return append(loaded, naming...)
}

// isConfiguration tells whether a file of a boot loader says what to load.
func isConfiguration(name string) bool {
	kind := filepath.Ext(name)
	return kind == ".cfg" || kind == ".conf"
}

func mirrorFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if now, err := os.Readlink(to); err == nil && now == link {
			return nil
		}
		return renameio.Symlink(link, to)
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if now, err := os.ReadFile(to); err == nil && bytes.Equal(now, text) {
		return nil
	}
	if err := renameio.WriteFile(to, text, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
