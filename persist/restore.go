package persist

import (
	"context"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Restoration is what Restore brings back, and from where.
type Restoration struct {
	Sysroot string // where the root to restore to is mounted; empty: "/"
	From    string // directory of the old root
	Items   []RestoreItem
	DryRun  bool // tell what would be done, and change nothing
	// Progress, which may be nil, is called with how many files, directories and the like were copied so far.
	Progress func(entries uint64)
}

// RestoreItem is one path to bring back.
type RestoreItem struct {
	Source string // absolute, in the old root
	Target string // absolute, in the root that is restored to
}

// RestoreAction says what is done about one path.
type RestoreAction string

// The actions.
const (
	Restored RestoreAction = "restored" // nothing was there
	Replaced RestoreAction = "replaced" // something else was there; it is kept aside
	Same     RestoreAction = "same"     // it is there already
	NotDone  RestoreAction = "failed"
)

// RestoreResult is what became, or with DryRun would become, of one path: of a whole tree where none was, of single names
// where both roots have the directory.
type RestoreResult struct {
	Source  string
	Target  string
	Action  RestoreAction
	Aside   string // where what stood there is now; only with Replaced, and not with DryRun
	Entries uint64 // how many files, directories and the like it is
	Bytes   uint64 // the sizes of its files
	Err     error
}

// Restore copies paths of an old root back, with owners, modes, ACLs, extended attributes, hard links, holes and times, and
// shares the data where the file systems can. A directory that both roots have stays what it is and is gone into. What is
// there already, in content, owner, mode and attributes, is left alone, so that it can be done twice; anything else in the
// way is kept aside, beside what takes its place.
//
// Nothing is seen before it is complete and durable: it is staged beside its place and renamed. A crash leaves a staged
// copy, which the next Restore of that path removes. No symlink is followed but those that only root can have made, in
// either root; a path that leads over another is ErrUnsafePath.
//
// done is told what became of each path, as it is known. The error is that of the whole: the context's, or that the roots
// can't be opened.
func Restore(ctx context.Context, r Restoration, done func(RestoreResult)) error {
	return restore(ctx, &kernel{}, r, done)
}

func restore(ctx context.Context, k *kernel, r Restoration, done func(RestoreResult)) error {
	if r.Sysroot == "" {
		r.Sysroot = "/"
	}
	if r.Progress == nil {
		r.Progress = func(uint64) {}
	}
	from, err := newResolver(k, r.From)
	if err != nil {
		return err
	}
	defer from.close()
	to, err := newResolver(k, r.Sysroot)
	if err != nil {
		return err
	}
	defer to.close()
	x := &restorer{k: k, ctx: ctx, what: r, from: from, to: to, done: done}
	for _, item := range r.Items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.item(item); err != nil {
			x.fail(item.Source, item.Target, err)
		}
	}
	return ctx.Err()
}

// restorer is one run of Restore.
type restorer struct {
	k        *kernel
	ctx      context.Context // of the one run that it lives in
	what     Restoration
	from, to *resolver
	done     func(RestoreResult)
	entries  uint64 // copied so far
}

func (x *restorer) fail(source, target string, err error) {
	if x.ctx.Err() == nil {
		x.done(RestoreResult{Source: source, Target: target, Action: NotDone, Err: err})
	}
}

// count is called for each file, directory and the like that is copied.
func (x *restorer) count() {
	x.entries++
	x.what.Progress(x.entries)
}

// item brings back one path that was asked for.
func (x *restorer) item(i RestoreItem) error {
	if !path.IsAbs(i.Source) || !path.IsAbs(i.Target) {
		return fmt.Errorf("%q: %w: not absolute", i.Source, ErrInvalidEntry)
	}
	i.Source, i.Target = path.Clean(i.Source), path.Clean(i.Target)
	var st unix.Statx_t
	from, name, err := x.from.parent(i.Source)
	if err == nil {
		st, err = x.k.stat(from, orDot(name))
	}
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w in the old root", ErrSourceMissing)
	}
	if err != nil {
		return err
	}
	if i.Target == "/" {
		if objectOf(st).Kind != IsDirectory {
			return fmt.Errorf("%s is put in the place of the root: %w", i.Source, ErrWrongKind)
		}
		return x.merge(from, orDot(name), x.to.root, ".", i.Source, i.Target)
	}
	into, as, err := x.place(i)
	if err != nil || into < 0 {
		return err
	}
	if from, _, err = x.from.parent(i.Source); err != nil { // it may be closed by now: see resolver.dir
		return err
	}
	return x.batch(batch{from: from, into: into, source: path.Dir(i.Source), target: path.Dir(i.Target), pairs: []pair{{orDot(name), as}}})
}

func orDot(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// place opens the directory that a target goes to, and makes what is missing of it, as it is in the old root where the
// path is the same. With DryRun a directory that is missing is told as what would be restored, and is -1.
func (x *restorer) place(i RestoreItem) (int, string, error) {
	dir, name := path.Dir(i.Target), path.Base(i.Target)
	into, err := x.to.dir(dir)
	if !errors.Is(err, unix.ENOENT) {
		return into, name, err
	}
	if x.what.DryRun {
		from, base, err := x.from.parent(i.Source)
		if err != nil {
			return -1, "", err
		}
		result := RestoreResult{Source: i.Source, Target: i.Target, Action: Restored}
		if err := x.measure(from, orDot(base), &result); err != nil {
			return -1, "", err
		}
		x.done(result)
		return -1, "", nil
	}
	if err := x.makeDirectory(dir, path.Dir(i.Source), i.Source == i.Target); err != nil {
		return -1, "", err
	}
	into, err = x.to.dir(dir)
	return into, name, err
}

// makeDirectory makes a directory of the target's path, after those that it lies in. A crash leaves it empty.
func (x *restorer) makeDirectory(dir, source string, same bool) error {
	if _, err := x.to.dir(dir); !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := x.makeDirectory(path.Dir(dir), path.Dir(source), same); err != nil {
		return err
	}
	into, name, err := x.to.parent(dir)
	if err != nil {
		return err
	}
	const mode = 0o755
	if err := x.k.mkdir(into, name, mode); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	x.to.made(dir)
	if !same {
		return nil
	}
	from, base, err := x.from.parent(source)
	if err != nil {
		return err
	}
	old, made, err := x.k.openBoth(from, orDot(base), into, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer x.k.close(old)
	defer x.k.close(made)
	c := newCopier(x.k, into)
	if err := c.dropInherited(into, made, name); err != nil {
		return err
	}
	return c.finishDirectory(old, made, name)
}

// merge goes into a directory that both roots have.
func (x *restorer) merge(from int, name string, into int, as, source, target string) error {
	old, have, err := x.k.openBoth(from, name, into, as, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer x.k.close(old)
	defer x.k.close(have)
	names, err := x.k.names(old)
	if err != nil {
		return err
	}
	pairs := make([]pair, len(names))
	for i, n := range names {
		pairs[i] = pair{n, n}
	}
	return x.batch(batch{from: old, into: have, source: source, target: target, pairs: pairs})
}

// measure counts what a tree of the old root is.
func (x *restorer) measure(from int, name string, r *RestoreResult) error {
	if err := x.ctx.Err(); err != nil {
		return err
	}
	st, err := x.k.stat(from, name)
	if err != nil {
		return err
	}
	r.Entries++
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		r.Bytes += st.Size
	case unix.S_IFDIR:
		fd, err := x.k.open(from, name, openFlags|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer x.k.close(fd)
		names, err := x.k.names(fd)
		if err != nil {
			return err
		}
		for _, child := range names {
			if err := x.measure(fd, child, r); err != nil {
				return fmt.Errorf("%s/%w", name, err)
			}
		}
	}
	return nil
}
