package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"strings"
)

// stage makes the fresh root at root.next and returns what it is a copy of, and its id.
func (r *rollover) stage() (source string, id SubvolumeID, err error) {
	if source, err = r.make(); err != nil {
		return source, 0, err
	}
	f, err := openSubvolume(r.parent, r.staged)
	if err != nil {
		return source, 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := subvolumeInfo(f)
	if err != nil {
		return source, 0, err
	}
	if err := r.mark(f, info.ID, source == ""); err != nil || r.From == "" {
		return source, info.ID, err
	}
	_ = r.fillStubs(f, source) // somebody wants that root: it boots without
	return source, info.ID, nil
}

// make creates the subvolume of the fresh root.
func (r *rollover) make() (source string, err error) {
	var f *os.File
	switch {
	case r.From != "":
		source = path.Join(r.Layout.OldRoots, r.From)
		f, err = r.openWhole(r.From)
	case r.Layout.Template != "":
		source = r.Layout.Template
		if f, err = openSubvolume(r.top, source); errors.Is(err, iofs.ErrNotExist) {
			err = fmt.Errorf("%w at %q: %w", ErrNoTemplate, source, err)
		}
	default:
		return "", r.kernel.createSubvolume(r.parent, r.staged)
	}
	if err != nil {
		return source, err
	}
	defer func() { _ = f.Close() }()
	return source, r.kernel.createSnapshot(r.parent, r.staged, f)
}

// openWhole opens the old root with a name: one that never was a root, or is half deleted, is none to boot. The name may
// come from the kernel command line, and must not lead elsewhere.
func (r *rollover) openWhole(name string) (*os.File, error) {
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("%w: %q is not the name of one", ErrNoSuchRoot, name)
	}
	f, err := openSubvolume(r.top, path.Join(r.Layout.OldRoots, name))
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, ErrNotSubvolume) {
		return nil, fmt.Errorf("%w: %w", ErrNoSuchRoot, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := subvolumeInfo(f)
	if err == nil {
		var a attributes
		if a, err = r.attributesOf(info.ID); err == nil && !a.whole(name) {
			err = fmt.Errorf("%w: %q is not whole any more", ErrNoSuchRoot, name)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// mark says on the staged root that it is one, what it is to replace, and for which boot it was made.
func (r *rollover) mark(f *os.File, id SubvolumeID, empty bool) error {
	replaces := SubvolumeID(0)
	if r.former != nil {
		replaces = r.former.ID
	}
	if err := r.kernel.setAttribute(f, attrStaged, formatID(id)); err != nil { // first: recovery goes by it
		return err
	}
	if empty {
		// The initrd's umask must not decide who may enter the root.
		if err := r.kernel.changeMode(f, 0o755); err != nil {
			return err
		}
	}
	return r.kernel.setAttributes(f, id, pair{attrReplaces, formatID(replaces)}, pair{attrBootID, r.BootID})
}

// unmark takes the mark as staged from what is the root now.
func (r *rollover) unmark() error {
	f, err := openSubvolume(r.parent, r.name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return r.kernel.removeAttribute(f, attrStaged)
}
