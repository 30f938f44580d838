package persist

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// verify compares a copy with what it was made of, both ways: names, kinds, owners, modes, sizes, times, attributes, and the
// content of files whose data was written rather than shared. What changed since it was copied is found too.
func (c *copier) verify(from int, name string, into int, as string) error {
	old, err := c.k.stat(from, name)
	if err := errors.Join(err, c.k.canceled()); err != nil {
		return err
	}
	made, err := c.k.stat(into, as)
	if err != nil {
		return err
	}
	kind := old.Mode & unix.S_IFMT
	same := old.Mode == made.Mode && old.Uid == made.Uid && old.Gid == made.Gid &&
		old.Rdev_major == made.Rdev_major && old.Rdev_minor == made.Rdev_minor
	if kind != unix.S_IFDIR {
		same = same && old.Size == made.Size && old.Mtime == made.Mtime
	}
	if kind == unix.S_IFLNK && same {
		same, err = c.k.sameLink(from, name, into, as)
	}
	if _, written := c.wrote[objectOf(made).ID]; written && same {
		same, err = c.k.sameContent(from, name, into, as)
	}
	if err != nil {
		return err
	}
	if same {
		same, err = c.sameAttributes(from, name, into, as)
	}
	if err == nil && !same {
		err = fmt.Errorf("%s changes while it is copied: %w", name, ErrBusy)
	}
	if err != nil || kind != unix.S_IFDIR {
		return err
	}
	return c.verifyChildren(from, name, into, as)
}

func (c *copier) sameAttributes(from int, name string, into int, as string) (bool, error) {
	old, err := c.k.readXattrsAt(from, name)
	if err != nil {
		return false, err
	}
	made, err := c.k.readXattrsAt(into, as)
	return old.equal(made), err
}

func (c *copier) verifyChildren(from int, name string, into int, as string) error {
	old, made, err := c.k.openBoth(from, name, into, as, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer c.k.close(old)
	defer c.k.close(made)
	names, err := c.k.names(old)
	if err != nil {
		return err
	}
	copied, err := c.k.names(made)
	if err != nil {
		return err
	}
	if !slices.Equal(names, copied) {
		return fmt.Errorf("%s changes while it is copied: %w", name, ErrBusy)
	}
	for _, child := range names {
		if err := c.verify(old, child, made, child); err != nil {
			return fmt.Errorf("%s/%w", name, err)
		}
	}
	return nil
}
