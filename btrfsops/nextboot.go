package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
)

// What can be asked for the next boot, besides the name of an old root.
const (
	NextFresh = "fresh" // roll over, as always
	NextKeep  = "keep"  // keep the root, once
)

// NextBoot returns what was asked for the next boot: NextFresh, NextKeep, or the name of the old root to boot a copy of.
// The request stands on the root itself: it goes with it when it is rolled over, so it is used once.
func (fs *Filesystem) NextBoot(l Layout) (string, error) {
	id, found := fs.lookup(l.Root)
	if !found {
		return NextFresh, nil
	}
	a, err := fs.attributesOf(id)
	if err != nil {
		return "", err
	}
	if next := a[attrNext]; next != "" {
		return next, nil
	}
	return NextFresh, nil
}

// SetNextBoot asks for the next boot, durably; NextFresh takes an earlier request back. Errors: ErrNoRoot, ErrNoSuchRoot
// when next is neither a word nor the name of an old root that is whole, ErrBusy.
func (fs *Filesystem) SetNextBoot(l Layout, next string) error {
	value := next
	switch next {
	case NextFresh:
		value = ""
	case NextKeep:
	default:
		if err := fs.bootable(l, next); err != nil {
			return err
		}
	}
	return fs.request(l, value)
}

// ForgetNextBoot takes back what was asked for the next boot, durably: it is being done. Errors: ErrNoRoot, ErrBusy.
func (fs *Filesystem) ForgetNextBoot(l Layout) error { return fs.request(l, "") }

// request writes a request durably, or takes it back with "".
func (fs *Filesystem) request(l Layout, value string) error {
	unlock, err := fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	root, err := openSubvolume(fs.top, l.Root)
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoRoot, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	info, err := subvolumeInfo(root)
	if err != nil {
		return err
	}
	if err := fs.kernel.setAttributes(root, info.ID, pair{attrNext, value}); err != nil {
		return err
	}
	return fs.kernel.commit(root)
}

// bootable says whether an old root can be booted again.
func (fs *Filesystem) bootable(l Layout, name string) error {
	roots, err := fs.ListRoots(l)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if root.Name != name {
			continue
		}
		if root.Deleting || root.Kind == KindDiscarded {
			return fmt.Errorf("%w: %q is not whole any more", ErrNoSuchRoot, name)
		}
		return nil
	}
	return fmt.Errorf("%w: %q", ErrNoSuchRoot, name)
}
