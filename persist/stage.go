package persist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path"

	"golang.org/x/sys/unix"
)

// Names of what is staged and of what is moved aside. They stand beside what they belong to, so that a rename puts them in
// place; the staged one is the same each time, so that the next run finds what a crash left, and begins anew.
const (
	stagedSuffix = ".impermanence-new"
	asideSuffix  = ".impermanence-conflict"
	maxName      = 255
)

func stagedName(name string) string { return shortened("."+name, stagedSuffix) }

func asideName(name string, i int) string {
	if i == 1 {
		return shortened(name, asideSuffix)
	}
	return shortened(name, fmt.Sprintf("%s-%d", asideSuffix, i))
}

// shortened adds a suffix; a name that becomes too long gets a sum in place of its end.
func shortened(name, suffix string) string {
	if len(name)+len(suffix) <= maxName {
		return name + suffix
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(name))
	end := fmt.Sprintf("~%016x%s", sum.Sum64(), suffix)
	return name[:maxName-len(end)] + end
}

// removeTree deletes what an earlier run staged: a name, and all in it, never through a mount or a symlink. Nothing there is
// not an error.
func (k *kernel) removeTree(dir int, name string) error {
	st, err := k.stat(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return k.unlink(dir, name)
	}
	if st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return fmt.Errorf("%s: %w", name, ErrMountPoint)
	}
	fd, err := k.open(dir, name, openFlags|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer k.close(fd)
	names, err := k.names(fd)
	if err != nil {
		return err
	}
	for _, child := range names {
		if err := k.removeTree(fd, child); err != nil {
			return err
		}
	}
	return k.rmdir(dir, name)
}

// copyInto copies from/name to dir/as and makes it durable. It is staged, verified against what it was made of, and only
// then renamed; until then nothing is at dir/as. mark is called with the staged copy before it is made durable, and place
// renames it. What can't be completed, also as ctx ends, is removed, so that a full volume is not left full of it.
func (k *kernel) copyInto(ctx context.Context, from int, name string, dir int, as string, mark, place func(staged string) error) error {
	staged := stagedName(as)
	if err := k.removeTree(dir, staged); err != nil {
		return err
	}
	if err := k.until(ctx).stageCopy(from, name, dir, staged, mark); err != nil {
		return errors.Join(err, k.removeTree(dir, staged))
	}
	if err := place(staged); err != nil {
		return err
	}
	return k.syncDir(dir, as)
}

func (k *kernel) stageCopy(from int, name string, dir int, staged string, mark func(staged string) error) error {
	c := newCopier(k, dir)
	if err := c.copy(from, name, dir, staged, staged); err != nil {
		return err
	}
	if err := mark(staged); err != nil {
		return err
	}
	if err := c.sync(dir, staged); err != nil {
		return err
	}
	return c.verify(from, name, dir, staged)
}

// syncDir makes the renames in a directory durable. dir may be opened with O_PATH, which can't be synced.
func (k *kernel) syncDir(dir int, name string) error {
	fd, err := k.open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer k.close(fd)
	return k.sync(fd, "the directory of "+name)
}

// sync makes a copy durable: one file by itself, a tree with its whole file system, which is faster than file by file. There is
// no other way for a symlink, fifo or device.
func (c *copier) sync(dir int, name string) error {
	if c.count == 1 && c.others == 0 {
		fd, err := c.k.open(dir, name, openFlags)
		if err != nil {
			return err
		}
		defer c.k.close(fd)
		return c.k.sync(fd, name)
	}
	fd, err := c.k.open(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer c.k.close(fd)
	return c.k.syncAll(fd, name)
}

// seed makes the source from what stands at p in a root, in its place.
func (x *run) seed(root *resolver, p string, dir int, name, from string) error {
	placeDir, place, err := root.parent(p)
	if err != nil {
		return err
	}
	sum, err := x.reads.seedSum(placeDir, place)
	if err != nil {
		return err
	}
	mark := func(staged string) error { return x.k.noteMade(dir, staged, sum) }
	rename := func(staged string) error {
		if err := x.unusedStill(root, p, sum); err != nil {
			return errors.Join(err, x.k.removeTree(dir, staged))
		}
		return x.k.rename(dir, staged, dir, name, unix.RENAME_NOREPLACE)
	}
	if err := x.k.copyInto(x.ctx, placeDir, place, dir, name, mark, rename); err != nil {
		return fmt.Errorf("seed %s from %s: %w", path.Join(path.Dir(x.entry.Source), name), from, err)
	}
	return nil
}

// unusedStill fails when a program has begun to work in the place while that was copied, which can take long, or has changed something there
// after it was verified: that would be hidden. sum is that of what was copied.
func (x *run) unusedStill(root *resolver, p string, sum []byte) error {
	if !x.opts.Running {
		return nil
	}
	if err := x.refuseWriters(x.entry); err != nil || x.entry.Kind == File { // which was verified just now, and is not read once more
		return err
	}
	dir, name, err := root.parent(p)
	if err != nil {
		return err
	}
	now, err := x.reads.seedSum(dir, name)
	if err == nil && !bytes.Equal(now, sum) {
		err = fmt.Errorf("%s changes while it is copied: %w", p, ErrBusy)
	}
	return err
}

// note writes an attribute on a file or directory.
func (k *kernel) note(dir int, name, attr string, value []byte) error {
	fd, err := k.open(dir, name, openFlags)
	if err != nil {
		return err
	}
	defer k.close(fd)
	return k.setXattr(fd, name, attr, value)
}

// noteMade notes on a source what it was made from, or has all of. Where there are no such attributes, or nothing can be written, it does
// nothing: then a later conflict is told by comparing content.
func (k *kernel) noteMade(dir int, name string, sum []byte) error {
	err := k.note(dir, name, attrSeed, sum)
	for _, cannot := range []error{unix.EOPNOTSUPP, unix.EROFS, unix.EPERM, unix.ENOSPC, unix.EDQUOT} {
		if errors.Is(err, cannot) {
			return nil
		}
	}
	return err
}

// noteSeed notes on a source that it has all that its place has.
func (x *run) noteSeed(dir int, name, from string) error {
	placeDir, place, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	sum, err := x.k.seedSum(placeDir, place)
	if err != nil {
		return err
	}
	return x.k.noteMade(dir, name, sum)
}

// makeLink puts a symlink in place. What was there is nothing, empty, or known to be in the source: it is exchanged for the
// symlink, looked at again, and put back if it is not that any more.
func (x *run) makeLink(dir int, name string, s Step) error {
	staged := stagedName(name)
	if err := x.clearStagedLink(dir, staged); err != nil {
		return err
	}
	x.make.as(s.Owner)
	err := x.k.symlink(s.From, dir, staged)
	x.make.as(Owner{})
	if err != nil {
		return err
	}
	return x.replace(dir, staged, name)
}

// clearStagedLink removes a symlink that a crash left staged; anything else under that name is not ours to remove.
func (x *run) clearStagedLink(dir int, staged string) error {
	st, err := x.k.stat(dir, staged)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if objectOf(st).Kind == IsSymlink {
		return x.k.unlink(dir, staged)
	}
	return x.k.moveAside(dir, staged)
}
