package persist

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// run does the steps of one entry. After a crash at any of them the next run finds the rest to do: a source is complete or
// absent, since it is renamed into place only when it is; a place is only what a mount or symlink is put on.
type run struct {
	*session
	ctx   context.Context // of the one run that it lives in
	entry Entry
	facts EntryFacts
	place int    // what was made or found in place, to mount on; -1: not opened yet
	aside string // what was kept aside by putBack, and is not in what was put back
	left  error  // what could not be done, and does not keep the entry from its place
}

// execute does what is planned, up to the first step that fails. What an entry can be put in place without (see dispensable) does not count
// as one: left is what is wrong then.
func (s *session) execute(ctx context.Context, p Planned, facts EntryFacts) (done []string, left, err error) {
	x := &run{session: s, ctx: ctx, entry: p.Entry, facts: facts, place: -1}
	defer func() { s.k.close(x.place) }()
	for _, step := range p.Steps {
		if err := x.step(step); err != nil {
			if !step.dispensable() || errors.Is(err, ErrUnsafePath) {
				return done, nil, err
			}
			x.left = errors.Join(x.left, err)
			continue
		}
		s.paths.made(step.Path)
		if word := step.done(); word != "" {
			done = append(done, word)
		}
	}
	return done, x.left, nil
}

func (x *run) step(s Step) error {
	dir, name, err := x.paths.parent(s.Path)
	if err != nil {
		return err
	}
	switch s.Op {
	case MakeParent:
		return x.makeParent(dir, name, s)
	case MakeDirectory:
		return x.makeDirectory(dir, name, s.Owner)
	case MakeFile:
		return x.makeFile(dir, name, s)
	case Seed:
		return x.seed(x.paths, s.From, dir, name, s.From)
	case SeedFormer:
		return x.seedFormer(dir, name, s.From)
	case SetOwner:
		return x.setOwner(dir, name, s.Owner)
	case MoveAside:
		return x.k.moveAside(dir, name)
	case RemoveLink:
		return x.removeLink(dir, name)
	case MakePlace:
		return x.makePlace(dir, name, s.From)
	case Mirror:
		return x.mirror(dir, name, s.From)
	case BindMount:
		return x.bind(dir, name, s.From)
	case SetOptions:
		return x.setOptions(dir, name)
	case MakeLink:
		return x.makeLink(dir, name, s)
	case CopyIn:
		return x.alone(func() error { return x.copyIn(dir, name, s.From) })
	case CopyOut:
		return x.alone(func() error { return x.copyOut(dir, name, s) })
	case PutBack:
		return x.putBack(dir, name, s.From)
	case NoteSeed:
		return x.noteSeed(dir, name, s.From)
	case NoteCopy:
		return x.noteSame(dir, name, s.From)
	}
	return fmt.Errorf("step %d: %w", s.Op, ErrNotSupported)
}

// makeParent makes a directory on the way. One that is there by now is left as it is.
func (x *run) makeParent(dir int, name string, s Step) error {
	if x.parents[s.Path] {
		return nil // made for an entry before
	}
	if err := x.makeDirectory(dir, name, s.Owner); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	x.parents[s.Path] = true
	return nil
}

func (x *run) makeDirectory(dir int, name string, owner Owner) error {
	fd, err := x.make.directory(dir, name, owner)
	x.k.close(fd)
	return err
}

// makeFile makes a source. With content it is staged, synced and renamed, so that a crash leaves all of it or nothing.
func (x *run) makeFile(dir int, name string, s Step) error {
	staged := name
	if s.Text != "" {
		staged = stagedName(name)
		if err := x.k.removeTree(dir, staged); err != nil {
			return err
		}
	}
	fd, err := x.make.file(dir, staged, s.Owner)
	if err != nil || s.Text == "" {
		x.k.close(fd)
		return err
	}
	defer x.k.close(fd)
	if err := x.k.write(fd, name, []byte(s.Text), 0); err != nil {
		return err
	}
	if err := x.k.sync(fd, name); err != nil {
		return err
	}
	if err := x.k.rename(dir, staged, dir, name, 0); err != nil {
		return err
	}
	return x.k.syncDir(dir, name)
}

func (x *run) setOwner(dir int, name string, want Owner) error {
	fd, err := x.k.open(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer x.k.close(fd)
	st, err := x.k.stat(fd, "")
	if err != nil {
		return err
	}
	o := objectOf(st)
	if o.Kind != wantedKind(x.entry.Kind) {
		return fmt.Errorf("%s: %w", name, ErrUnsafePath)
	}
	return x.k.setOwner(fd, name, o.Owner, want)
}

// removeLink removes the symlink that leads to the source. It is looked at again where it is kept aside: what a program has put in its place by
// now is put back.
func (x *run) removeLink(dir int, name string) error {
	aside, err := x.k.moveAsideAs(dir, name, name)
	if err != nil {
		return err
	}
	if link, err := x.k.readLink(dir, aside); err == nil && link == x.entry.Source {
		return x.k.unlink(dir, aside)
	}
	return errors.Join(fmt.Errorf("%s changes: %w", x.entry.Target, ErrBusy), x.k.rename(dir, aside, dir, name, unix.RENAME_NOREPLACE))
}

// makePlace makes what a mount is put on: empty, but with owner, mode, ACLs and attributes of the source, so that it shows
// no more than the source does when nothing is mounted.
func (x *run) makePlace(dir int, name, from string) error {
	sourceDir, source, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	object := x.facts.Source
	if object.Kind == Absent { // made by a step before this one
		st, err := x.k.stat(sourceDir, source)
		if err != nil {
			return err
		}
		object = objectOf(st)
	}
	if x.entry.Kind == Directory {
		x.place, err = x.make.directory(dir, name, object.Owner)
	} else {
		x.place, err = x.make.file(dir, name, object.Owner)
	}
	if err != nil {
		return err
	}
	return x.copyAttributes(sourceDir, source, x.place, name)
}

// copyAttributes gives a place the extended attributes of the source, ACLs among them.
func (x *run) copyAttributes(sourceDir int, source string, place int, name string) error {
	attrs, err := x.k.readXattrsAt(sourceDir, source)
	if err != nil || len(attrs) == 0 {
		return err
	}
	if x.entry.Kind == Directory { // opened with O_PATH
		readable, err := x.k.open(place, ".", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer x.k.close(readable)
		place = readable
	}
	err = x.k.writeXattrs(place, name, attrs)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // the root is on a file system without them; nothing is kept there
	}
	return err
}

// mirror gives an existing place the looks of the source.
func (x *run) mirror(dir int, name, from string) error {
	sourceDir, source, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	st, err := x.k.stat(sourceDir, source)
	if err != nil {
		return err
	}
	if err := x.setOwner(dir, name, objectOf(st).Owner); err != nil {
		return err
	}
	flags := uint64(openFlags)
	if x.entry.Kind == Directory {
		flags = unix.O_PATH | unix.O_DIRECTORY
	}
	fd, err := x.k.open(dir, name, flags)
	if err != nil {
		return err
	}
	defer x.k.close(fd)
	return x.copyAttributes(sourceDir, source, fd, name)
}

// bind mounts the source on its place. Both are held by descriptors, and checked to be what they should be before anything
// is mounted, so it does not matter what their names lead to by then.
func (x *run) bind(dir int, name, from string) error {
	sourceDir, source, err := x.paths.parent(from)
	if err != nil {
		return err
	}
	tree, err := x.k.cloneTree(sourceDir, source)
	if err != nil {
		return err
	}
	defer x.k.close(tree)
	st, err := x.k.stat(tree, "")
	if err != nil {
		return err
	}
	if o := objectOf(st); o.Kind != wantedKind(x.entry.Kind) {
		return fmt.Errorf("%s is %s: %w", from, o.Kind, ErrWrongKind)
	}
	if x.place < 0 {
		if x.place, err = x.openPlace(dir, name); err != nil {
			return err
		}
	}
	if set, clear := mountAttributes(x.entry.MountOptions); set|clear != 0 {
		if err := x.k.setMountOptions(tree, name, set, clear); err != nil {
			return err
		}
	}
	if err := x.k.attach(tree, x.place, x.entry.Target); err != nil {
		return err
	}
	x.noteMount(x.entry, st.Mnt_id, x.facts.Source.MountID)
	return nil
}

// openPlace opens what is to be mounted on.
func (x *run) openPlace(dir int, name string) (int, error) {
	fd, err := x.k.open(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	st, err := x.k.stat(fd, "")
	if err == nil && objectOf(st).Kind != wantedKind(x.entry.Kind) {
		err = fmt.Errorf("%s was replaced: %w", x.entry.Target, ErrUnsafePath)
	}
	if err != nil {
		x.k.close(fd)
		return -1, err
	}
	return fd, nil
}

func (x *run) setOptions(dir int, name string) error {
	fd, err := x.openPlace(dir, name)
	if err != nil {
		return err
	}
	defer x.k.close(fd)
	set, clear := mountAttributes(x.entry.MountOptions)
	return x.k.setMountOptions(fd, path.Join("/", name), set, clear)
}
