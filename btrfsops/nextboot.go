package btrfsops

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// What can be asked for the next boot, besides the name of an old root.
const (
	NextFresh = "fresh" // roll over, as always
	NextKeep  = "keep"  // keep the root, once
)

// NextBoot returns what was asked for the next boot: NextFresh, NextKeep, or the name of the old root to boot a copy of.
// The request stands on the root itself: it goes with it when it is rolled over, so it is used once.
func (fs *Filesystem) NextBoot(l Layout) (string, error) {
	id, found, err := fs.lookup(l.Root)
	if err != nil {
		return "", err
	}
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

// nextWatch answers as NextBoot does, again and again while much is deleted, for a fraction of the cost.
type nextWatch struct {
	fs   *Filesystem
	l    Layout
	root *os.File // nil when there is none
	id   SubvolumeID
	st   unix.Stat_t // of root
}

func (fs *Filesystem) watchNext(l Layout) (*nextWatch, error) {
	w := &nextWatch{fs: fs, l: l}
	root, err := openSubvolume(fs.top, l.Root)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, ErrNotSubvolume) {
		return w, nil // NextBoot says the same each time
	}
	if err != nil {
		return nil, err
	}
	w.root = root
	info, err := subvolumeInfo(root)
	if err == nil {
		err = wrap("stat", root.Name(), unix.Fstat(int(root.Fd()), &w.st))
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.id = info.ID
	return w, nil
}

func (w *nextWatch) close() {
	if w.root != nil {
		_ = w.root.Close()
	}
}

// next returns what NextBoot does.
func (w *nextWatch) next() (string, error) {
	var now unix.Stat_t
	err := unix.Fstatat(int(w.fs.top.Fd()), w.l.Root, &now, unix.AT_SYMLINK_NOFOLLOW)
	if w.root == nil || err != nil || now.Dev != w.st.Dev || now.Ino != w.st.Ino { // another root stands there
		return w.fs.NextBoot(w.l)
	}
	owner, err := readAttribute(w.root, attrOwner)
	if err != nil || owner != formatID(w.id) {
		return NextFresh, err
	}
	next, err := readAttribute(w.root, attrNext)
	return cmp.Or(next, NextFresh), err
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
