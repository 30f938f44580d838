package template

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
)

// needed stays in a template even where it is kept: the boot loader finds kernels there, early boot what to mount and to put in place before
// that is in place, and whose it is; programs that run in the template need users.
var needed = []string{
	"/boot", "/etc/fstab", "/etc/impermanence",
	"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid",
}

// isNeeded tells whether a path is needed, or lies in what is.
func isNeeded(p string) bool {
	return slices.ContainsFunc(needed, func(n string) bool { return machine.Within(p, n) })
}

// holdsNeeded tells whether something that is needed lies in a path.
func holdsNeeded(p string) bool {
	return slices.ContainsFunc(needed, func(n string) bool { return machine.Within(n, p) })
}

// temporary are the directories whose content is of one boot.
var temporary = []string{"/tmp", "/var/tmp", "/run"}

// machineID is left empty: systemd gives a machine without one a new one, and takes it for no first boot.
const machineID = "/etc/machine-id"

// Clean takes out of a tree below dir what is no part of a template: what entries keep elsewhere, and what is of one boot.
// Directories stay, empty, with owner and mode. No symlink leads out of the tree.
func Clean(dir string, entries []persist.Entry) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("clean the template: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, place := range temporary {
		if err := empty(root, place); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := cleanEntry(root, e); err != nil {
			return err
		}
	}
	return nil
}

// Kept picks the entries that there is something of on their volumes, as they are mounted below root. What others are still to be made
// from has to stay in a template.
func Kept(root string, entries []persist.Entry) []persist.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e persist.Entry) bool {
		_, err := os.Lstat(filepath.Join(root, e.Source))
		return err != nil
	})
}

func cleanEntry(root *os.Root, e persist.Entry) error {
	switch {
	case isNeeded(e.Target):
		return nil
	case e.Kind == persist.Directory:
		return empty(root, e.Target)
	}
	name := inside(e.Target)
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && e.Target == machineID && info.Mode().IsRegular() {
		err = change(root, name, func() error { return truncate(root, name) })
	} else if err == nil && !info.IsDir() {
		err = change(root, name, func() error { return root.Remove(name) })
	}
	if err != nil {
		return fmt.Errorf("clean the template: %w", err)
	}
	return nil
}

// empty removes what is in a directory, but for what is needed.
func empty(root *os.Root, place string) error {
	name := inside(place)
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean the template: %w", err)
	}
	children, err := fs.ReadDir(root.FS(), name)
	if err != nil {
		return fmt.Errorf("clean the template: %w", err)
	}
	for _, child := range children {
		switch at := path.Join(place, child.Name()); {
		case isNeeded(at):
		case holdsNeeded(at):
			err = empty(root, at)
		default:
			err = change(root, name, func() error { return root.RemoveAll(inside(at)) })
		}
		if err != nil {
			return fmt.Errorf("clean the template: %w", err)
		}
	}
	return nil
}

func truncate(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		err = f.Close()
	}
	return err
}

// change does so to what is at a name, or in it, also where somebody has made something there immutable or append-only: chattr(1).
func change(root *os.Root, name string, do func() error) error {
	err := do()
	if errors.Is(err, fs.ErrPermission) {
		_ = exec.Command("chattr", "-R", "-f", "-i", "-a", filepath.Join(root.Name(), name)).Run() // fails for what has no such flags, as symlinks
		err = do()
	}
	return err
}

// inside is an absolute path as a root takes it.
func inside(p string) string { return strings.TrimPrefix(p, "/") }
