package persist

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// copyFacts sums up the two sides of a file that is copied, and reads what was noted of them in this root.
func (s *session) copyFacts(sourceDir int, source string, dir int, name string) (CopyFacts, error) {
	var f CopyFacts
	var err error
	if f.Source, err = s.reads.fileSum(sourceDir, source); err != nil {
		return f, err
	}
	if f.Target, err = s.reads.fileSum(dir, name); err != nil {
		return f, err
	}
	id, err := s.rootID(dir)
	if noted, ok := bytes.CutPrefix(s.k.readXattr(sourceDir, source, attrCopy), []byte(id+" ")); ok && err == nil {
		f.Noted = string(noted)
	}
	return f, err
}

// fileSum sums up content, owner and mode of a regular file.
func (k *kernel) fileSum(dir int, name string) (string, error) {
	fd, err := k.open(dir, name, openFlags)
	if err != nil {
		return "", err
	}
	defer k.close(fd)
	st, err := k.stat(fd, "")
	if err != nil {
		return "", err
	}
	sum, size, err := k.contentSum(fd, name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d:%d:%04o:%d:%x", st.Uid, st.Gid, st.Mode&0o7777, size, sum), nil
}

// rootID tells apart the roots that a directory of places is in: one at an ephemeral mount point of its own is fresh when "/" is not. A root on
// btrfs that is kept for another boot stays the same one: what a crash has kept from being copied back then is, later. Another root is another
// one at each boot.
func (s *session) rootID(dir int) (string, error) {
	if id := s.k.subvolumeOf(dir); id != "" {
		return id, nil
	}
	st, err := s.k.stat(dir, "")
	if err != nil {
		return "", err
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return fmt.Sprintf("%s/%d:%d", bytes.TrimSpace(boot), st.Dev_major, st.Dev_minor), nil
}

// alone has nobody else copy meanwhile: two would stage one copy under one name, and each put what the other has not finished where it belongs.
func (x *run) alone(copying func() error) error {
	lock, err := lockFile(x.ctx, x.k, cmp.Or(x.opts.Lock, DefaultLock))
	defer x.k.close(lock)
	if err != nil && x.ctx.Err() != nil {
		return x.ctx.Err()
	}
	return copying()
}

// copyIn puts a copy of the source in its place, and notes on the source that they are the same. A crash in between leaves
// them the same but not noted, which the next run finds.
func (x *run) copyIn(dir int, name, from string) error {
	sourceDir, source, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	nothing := func(string) error { return nil }
	place := func(staged string) error { return x.replace(dir, staged, name) }
	if err := x.k.copyInto(x.ctx, sourceDir, source, dir, name, nothing, place); err != nil {
		return err
	}
	x.left = errors.Join(x.left, x.noteCopy(sourceDir, source, dir))
	return nil
}

// copyOut puts a copy of the place where the source is. The note is on the copy before it is renamed.
func (x *run) copyOut(dir int, name string, s Step) error {
	placeDir, place, err := x.paths.parent(s.From)
	if err != nil {
		return err
	}
	seed := x.k.readXattr(dir, name, attrSeed)
	if x.facts.Source.Kind == Absent {
		if seed, err = x.reads.seedSum(placeDir, place); err != nil {
			return err
		}
	}
	mark := func(staged string) error {
		if seed != nil {
			if err := x.k.noteMade(dir, staged, seed); err != nil {
				return err
			}
		}
		err := x.noteCopy(dir, staged, placeDir)
		if errors.Is(err, unix.EOPNOTSUPP) { // nor will it be another time
			x.left, err = errors.Join(x.left, err), nil
		}
		return err
	}
	rename := func(staged string) error {
		if s.Aside {
			_, err := x.k.swapAside(dir, staged, name)
			return err
		}
		return x.k.rename(dir, staged, dir, name, 0)
	}
	if err := x.k.copyInto(x.ctx, placeDir, place, dir, name, mark, rename); err != nil {
		return fmt.Errorf("copy %s back to %s: %w", s.From, path.Join(path.Dir(x.entry.Source), name), err)
	}
	return nil
}

// noteCopy notes on a source that it holds what its place in this root holds. Without that nobody can tell which of them changes.
func (x *run) noteCopy(dir int, name string, placeDir int) error {
	sum, err := x.k.fileSum(dir, name)
	if err != nil {
		return err
	}
	id, err := x.rootID(placeDir)
	if err != nil {
		return err
	}
	if err := x.k.note(dir, name, attrCopy, []byte(id+" "+sum)); err != nil {
		return fmt.Errorf("what changes in %s is not copied back: %w", x.entry.Target, err)
	}
	return nil
}

// noteSame notes so of two sides that were found to hold the same.
func (x *run) noteSame(dir int, name, place string) error {
	placeDir, _, err := x.paths.parent(place)
	if err != nil {
		return err
	}
	return x.noteCopy(dir, name, placeDir)
}

// replace renames what is staged to a name, where nothing is or what was looked at. Something else there by now is put back.
func (x *run) replace(dir int, staged, name string) error {
	err := x.k.rename(dir, staged, dir, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := x.k.rename(dir, staged, dir, name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	st, err := x.k.stat(dir, staged)
	if err == nil && (objectOf(st).ID != x.facts.Target.ID || objectOf(st).Version != x.facts.Target.Version) {
		err = fmt.Errorf("%s changes: %w", x.entry.Target, ErrBusy)
	}
	switch {
	case err != nil:
	case objectOf(st).Kind == IsDirectory:
		err = x.k.rmdir(dir, staged)
	default:
		err = x.k.unlink(dir, staged)
	}
	if err == nil {
		return nil
	}
	back := x.k.rename(dir, staged, dir, name, unix.RENAME_EXCHANGE)
	if back != nil { // what is under the staged name a next run would clear away
		_, aside := x.k.moveAsideAs(dir, staged, name)
		back = errors.Join(back, aside)
	}
	return errors.Join(err, back)
}
