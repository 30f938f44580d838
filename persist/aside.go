package persist

import (
	"errors"

	"golang.org/x/sys/unix"
)

// moveAside renames what is at a name to one beside it that is free.
func (k *kernel) moveAside(dir int, name string) error {
	_, err := k.moveAsideAs(dir, name, name)
	return err
}

// moveAsideAs does so for what is staged for another name, and tells under which name.
func (k *kernel) moveAsideAs(dir int, name, as string) (string, error) {
	const most = 1000
	for i := 1; ; i++ {
		aside := asideName(as, i)
		err := k.rename(dir, name, dir, aside, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EEXIST) || i == most {
			return aside, err
		}
	}
}

// swapAside puts what is staged in the place of what is at a name, which gets a name that keeps it aside in the same moment: what is
// staged takes that name first, and is then exchanged with it. So the place is never empty, and no name that a later run would
// clear away ever holds what was there. A crash in between leaves a second, complete copy aside.
func (k *kernel) swapAside(dir int, staged, name string) (aside string, err error) {
	if aside, err = k.moveAsideAs(dir, staged, name); err != nil {
		return "", err
	}
	if err := k.rename(dir, aside, dir, name, unix.RENAME_EXCHANGE); err != nil {
		return "", errors.Join(err, k.rename(dir, aside, dir, staged, unix.RENAME_NOREPLACE))
	}
	return aside, nil
}

// covered tells whether all of a tree is in another: names, kinds, owners, modes, attributes and content. Times make no
// difference, nor what only the other has.
func (k *kernel) covered(dir int, name string, otherDir int, other string) (bool, error) {
	st, err := k.stat(dir, name)
	if err != nil {
		return false, err
	}
	have, err := k.stat(otherDir, other)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil || (st.Attributes|have.Attributes)&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return false, err
	}
	same, err := newCopier(k, dir).same(dir, name, st, otherDir, other, have)
	if err != nil || !same || objectOf(st).Kind != IsDirectory {
		return same, err
	}
	a, b, err := k.openBoth(dir, name, otherDir, other, unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer k.close(a)
	defer k.close(b)
	names, err := k.names(a)
	if err != nil {
		return false, err
	}
	for _, child := range names {
		if same, err := k.covered(a, child, b, child); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}
