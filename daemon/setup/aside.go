package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
)

// asideSuffix is for a configuration that was set aside: nothing reads it.
const asideSuffix = ".before-undo"

// localLists is where a person adds to the configuration.
const localLists = "/etc/impermanence/conf.d"

// lists looks at the configuration beside what a set-up writes: what of it means nothing without the set-up, and what an earlier undoing
// set aside.
func (f *Facts) lists(root string) error {
	aside, err := filepath.Glob(filepath.Join(root, localLists, "*"+asideSuffix))
	if err != nil {
		return err
	}
	for _, file := range aside {
		f.Aside = append(f.Aside, filepath.Join(localLists, filepath.Base(file)))
	}
	_, err = os.Lstat(filepath.Join(root, configFile+asideSuffix))
	f.ChangedConfig = err == nil
	if f.Record == nil {
		return nil
	}
	files, err := config.LoadOptions{Root: root}.Files()
	if err != nil {
		return err
	}
	for _, file := range files {
		if name := filepath.Join("/", strings.TrimPrefix(file, root)); name != configFile && f.Record.meant(root, file) {
			f.Dependent = append(f.Dependent, name)
		}
	}
	return nil
}

// meant tells whether a file of the configuration is about the fresh root, or about a volume that is mounted only since the set-up. So is one
// that is wrong by itself, as it can only add to another.
func (r Record) meant(root, file string) bool {
	c, err := config.Load(config.LoadOptions{Root: root, Path: file})
	return err != nil || slices.ContainsFunc(c.Ephemeral, isRoot) ||
		!r.mountedBefore() && slices.ContainsFunc(c.Volumes, func(v persist.Volume) bool { return v.Path == r.Point })
}

// mountedBefore tells whether fstab mounted the volume before the set-up.
func (r Record) mountedBefore() bool {
	change, found := r.change(fstabFile)
	if !found {
		return true
	}
	if change.Former == nil {
		return false
	}
	_, found = fstab.Parse(*change.Former).At(r.Point)
	return found
}

// setAside has nothing read a file of the configuration any more.
func (w *worker) setAside(name string) error {
	from, to := filepath.Join(w.Root, name), filepath.Join(w.Root, name+asideSuffix)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil // it was before the undoing was interrupted
	}
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("%w: move %s away", ErrTaken, name+asideSuffix)
	}
	return os.Rename(from, to)
}

// refuseAside says what is to become of the lists that an undoing set aside: without them a person would miss what they keep.
func (f *Facts) refuseAside() error {
	if len(f.Aside) == 0 {
		return nil
	}
	name := f.Aside[0]
	return fmt.Errorf("%w: move %s back to %s, or delete it", ErrAside, name, strings.TrimSuffix(name, asideSuffix))
}
