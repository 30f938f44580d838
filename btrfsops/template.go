package btrfsops

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Beside the template, so that an exchange stays within one directory.
const (
	templateStaged = ".next"   // a new template under way; between two steps of a commit also what is on its way out
	templateFormer = ".former" // the template before, kept for a rollback
)

// TemplateSource says what a new template is begun from.
type TemplateSource uint8

// The sources.
const (
	FromTemplate TemplateSource = iota // a copy of the template, to be changed
	FromRoot                           // a copy of the root that runs
)

// Templates are the template of a layout and what is beside it; nil where there is none.
type Templates struct {
	Current, Former, Staged *Subvolume
}

// Templates looks at the template of a layout. It changes nothing.
func (fs *Filesystem) Templates(l Layout) (Templates, error) {
	if l.Template == "" {
		return Templates{}, fmt.Errorf("%w: the layout has none", ErrNoTemplate)
	}
	var t Templates
	for _, at := range []struct {
		suffix string
		into   **Subvolume
	}{{"", &t.Current}, {templateFormer, &t.Former}, {templateStaged, &t.Staged}} {
		info, found, err := fs.subvolumeAt(l.Template + at.suffix)
		if err != nil {
			return t, err
		}
		if found {
			*at.into = &info
		}
	}
	return t, nil
}

// subvolumeAt describes the subvolume at p, relative to the top level; false when there is nothing at all.
func (fs *Filesystem) subvolumeAt(p string) (Subvolume, bool, error) {
	f, err := openSubvolume(fs.top, p)
	if errors.Is(err, iofs.ErrNotExist) {
		return Subvolume{}, false, nil
	}
	if err != nil {
		return Subvolume{}, false, err
	}
	defer func() { _ = f.Close() }()
	info, err := subvolumeInfo(f)
	return info, err == nil, err
}

// NewTemplate is a template under way: a writable subvolume that nobody boots until it is committed. Close lets go of it; one
// that was neither committed nor dropped is dropped by the next change of the template.
type NewTemplate struct {
	fs     *Filesystem
	layout Layout
	parent *os.File
	dir    *os.File // held while it is under way
	id     SubvolumeID
}

// StageTemplate begins a new template as a copy of the present one or of the root. What an interrupted change left is put
// right first. It is made at template.next, and held there: of two changes at a time the second is ErrBusy. A crash leaves
// the template as it was. Errors: ErrNoTemplate, ErrNoRoot, ErrNoSpace, ErrReadOnly, ErrBusy, ErrInvalidName.
func (fs *Filesystem) StageTemplate(ctx context.Context, l Layout, from TemplateSource) (*NewTemplate, error) {
	unlock, parent, err := fs.beginTemplate(ctx, l)
	if err != nil {
		return nil, err
	}
	defer unlock()
	n := &NewTemplate{fs: fs, layout: l, parent: parent}
	if err := n.stage(from); err != nil {
		n.Close()
		return nil, fmt.Errorf("stage a new template %q: %w", l.Template, err)
	}
	return n, nil
}

// beginTemplate locks the file system and finishes what an interrupted change of the template left.
func (fs *Filesystem) beginTemplate(ctx context.Context, l Layout) (unlock func(), parent *os.File, err error) {
	if err := errors.Join(l.Check(), ctx.Err()); err != nil {
		return nil, nil, err
	}
	if l.Template == "" {
		return nil, nil, fmt.Errorf("%w: the layout has none", ErrNoTemplate)
	}
	if unlock, err = fs.lock(); err != nil {
		return nil, nil, err
	}
	if parent, _, err = fs.openParent(l.Template); err == nil {
		if err = fs.recoverTemplate(l, parent); err == nil {
			return unlock, parent, nil
		}
		_ = parent.Close()
	}
	unlock()
	return nil, nil, err
}

func (n *NewTemplate) stage(from TemplateSource) error {
	source, missing := n.layout.Template, ErrNoTemplate
	if from == FromRoot {
		source, missing = n.layout.Root, ErrNoRoot
	}
	f, err := openSubvolume(n.fs.top, source)
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w at %q: %w", missing, source, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	k := &n.fs.kernel
	if err := k.createSnapshot(n.parent, n.name(templateStaged), f); err != nil {
		return err
	}
	if n.dir, err = openSubvolume(n.parent, n.name(templateStaged)); err != nil {
		return err
	}
	if err := hold(n.dir); err != nil {
		return err
	}
	info, err := subvolumeInfo(n.dir)
	if err != nil {
		return err
	}
	n.id = info.ID
	replaces, _, err := n.fs.subvolumeAt(n.layout.Template)
	if err != nil {
		return err
	}
	if err := k.setAttribute(n.dir, attrStaged, formatID(n.id)); err != nil { // first: recovery goes by it
		return err
	}
	if err := k.setAttributes(n.dir, n.id, pair{attrReplaces, formatID(replaces.ID)}); err != nil {
		return err
	}
	return n.fs.fillStubs(n.dir, source)
}

// name is the last name of the template with a suffix.
func (n *NewTemplate) name(suffix string) string { return path.Base(n.layout.Template) + suffix }

// ID is the new template's subvolume id.
func (n *NewTemplate) ID() SubvolumeID { return n.id }

// Dir is where it can be worked on: a path that stays right until Close, on a mount that nobody else sees and that runs no
// programs. To run some, mount the subvolume by its id.
func (n *NewTemplate) Dir() string { return procPath(n.dir) }

// Path is where it stands now, relative to the top level.
func (n *NewTemplate) Path() string { return n.layout.Template + templateStaged }

// Commit makes it the template. The order, and what a power cut after each step leaves behind:
//
//  1. Its files are flushed and it becomes read-only: the template as it was; the next change drops the new one.
//  2. It is exchanged with the template, or moved into its place where there is none: the new template, and the next change does
//     the rest, since the template says which one it replaces.
//  3. The former template is put at template.former, and the one that was there is deleted.
//  4. One commit makes it durable.
//
// An error after step 2 says so, with the template committed; the next change of the template completes it.
func (n *NewTemplate) Commit(ctx context.Context) error {
	unlock, err := n.fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.commit(ctx); err != nil {
		return fmt.Errorf("commit template %q: %w", n.layout.Template, err)
	}
	return nil
}

func (n *NewTemplate) commit(ctx context.Context) error {
	k := &n.fs.kernel
	if err := n.fs.Sync(); err != nil {
		return err
	}
	if err := k.setReadOnly(n.dir, true); err != nil {
		return err
	}
	_, found, err := n.fs.subvolumeAt(n.layout.Template)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	flags := uint(unix.RENAME_NOREPLACE)
	if found {
		flags = unix.RENAME_EXCHANGE
	}
	if err := k.rename(n.parent, n.name(templateStaged), n.parent, n.name(""), flags); err != nil {
		return err
	}
	if found {
		if err := n.fs.retireTemplate(n.layout, n.parent); err != nil {
			return fmt.Errorf("the new template is in place; the next change of it will complete: %w", err)
		}
	}
	return k.commit(n.parent)
}

// Drop deletes it; the template stays as it is.
func (n *NewTemplate) Drop() error {
	unlock, err := n.fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	release(n.dir)
	if err := n.fs.destroyTree(n.id); err != nil {
		return fmt.Errorf("drop the new template: %w", err)
	}
	return n.fs.kernel.commit(n.parent)
}

// Close lets go of it.
func (n *NewTemplate) Close() {
	if n.dir != nil {
		release(n.dir)
		_ = n.dir.Close()
	}
	_ = n.parent.Close()
}
