package btrfsops

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// RolloverOptions says what to roll over, and into what.
type RolloverOptions struct {
	Layout     Layout
	BootID     string    // of this boot; at most one rollover happens in each
	Now        time.Time // the clock, however wrong it may be
	From       string    // name of an old root to boot a writable copy of; "": a fresh root
	Persistent []string  // paths in the root that hold what must survive; a subvolume there is refused
	Mount      RootMount // how this boot will mount the root
}

// RolloverReport is what a rollover did.
type RolloverReport struct {
	Fresh      SubvolumeID   `json:"fresh,omitempty"`   // the root of this boot; 0: nothing was replaced
	Former     SubvolumeID   `json:"former,omitempty"`  // the root before; 0: there was none
	OldRoot    string        `json:"oldRoot,omitempty"` // where the former root is now, relative to the top level
	Source     string        `json:"source,omitempty"`  // what the fresh root is a copy of, relative to the top level; "": it is empty
	RolledOver time.Time     `json:"rolledOver"`        // the time that the old root was given
	Recovered  string        `json:"recovered,omitempty"`
	Already    bool          `json:"already,omitempty"` // it was rolled over earlier in this boot
	Duration   time.Duration `json:"durationNSec"`
}

// Rollover makes the root an old root and puts a fresh root in its place. Nothing is deleted, whatever there is. The
// order, and what a power cut after each step leaves behind (the file system is always as a prefix of these):
//
//  1. What an interrupted rollover left at root.next is moved into old_roots: root untouched.
//  2. The fresh root is made at root.next, marked as staged and with the id it is to replace: root untouched; step 1 of
//     the next boot puts it away, as discarded.
//  3. root and root.next are exchanged, atomically: the fresh root boots; the former one is at root.next, and step 1 of
//     the next boot completes 4 and 5, since the root says that it replaces just that id. Where the root is the default
//     subvolume, that is made to follow: between the two the former root boots, from root.next.
//  4. The fresh root's mark as staged goes, the former one is marked with its time and kind: as after 3.
//  5. It is moved into old_roots.
//  6. One commit makes it all durable before the boot goes on.
//
// An error before step 3 leaves the former root in place. One after it comes with a report whose Fresh is set: the root is
// fresh, and the next boot does the rest. Errors: ErrNoSpace, ErrReadOnly, ErrBusy, ErrNotSubvolume, ErrRootMounted,
// ErrOtherRoot, ErrPersistentRoot, ErrNoTemplate, ErrNoSuchRoot, ErrInvalidName.
func (fs *Filesystem) Rollover(ctx context.Context, o RolloverOptions) (report RolloverReport, err error) {
	start := time.Now()
	defer func() { report.Duration = time.Since(start) }()
	if err := o.check(); err != nil {
		return report, err
	}
	unlock, err := fs.lock()
	if err != nil {
		return report, err
	}
	defer unlock()
	r, err := fs.beginRollover(o)
	if err != nil {
		return report, err
	}
	defer r.close()
	err = r.run(ctx, &report)
	if err != nil {
		err = fmt.Errorf("roll over root %q: %w", o.Layout.Root, err)
	}
	return report, err
}

func (o RolloverOptions) check() error {
	if o.BootID == "" {
		return fmt.Errorf("%w: a rollover needs a boot id", ErrInvalidName)
	}
	return o.Layout.Check()
}

// rollover is one under way.
type rollover struct {
	*Filesystem
	RolloverOptions
	parent       *os.File // the directory that holds root and root.next
	name, staged string
	former       *former // nil when there is no root

	fallback       SubvolumeID // the default subvolume
	defaultFollows bool        // it is the root, or was before an interrupted rollover
}

// former is the root that a rollover found.
type former struct {
	Subvolume
	attributes attributes
}

func (fs *Filesystem) beginRollover(o RolloverOptions) (*rollover, error) {
	parent, name, err := fs.openParent(o.Layout.Root)
	if err != nil {
		return nil, err
	}
	return &rollover{Filesystem: fs, RolloverOptions: o, parent: parent, name: name, staged: name + stagedSuffix}, nil
}

func (r *rollover) close() { _ = r.parent.Close() }

// run does the steps that Rollover's comment numbers.
func (r *rollover) run(ctx context.Context, report *RolloverReport) error {
	if err := r.inspect(); err != nil {
		return err
	}
	recovered, err := r.recover() // step 1
	report.Recovered = recovered
	if err != nil {
		return err
	}
	if r.former != nil && r.former.attributes[attrBootID] == r.BootID {
		report.Already = true
		return nil
	}
	if err := r.refuse(); err != nil {
		return err
	}
	source, fresh, err := r.stage() // step 2
	report.Source = source
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.swap(fresh); err != nil { // step 3
		return err
	}
	report.Fresh = fresh
	err = r.unmark()
	if r.former != nil {
		report.Former = r.former.ID
		report.RolledOver = r.rolledOverAt(r.former.Subvolume)
		var errAway error
		report.OldRoot, errAway = r.putAway(KindOld, report.RolledOver) // steps 4 and 5
		err = errors.Join(err, errAway)
	}
	return errors.Join(err, r.kernel.commit(r.parent)) // step 6
}

// inspect looks at the root, if there is one, and at the default subvolume.
func (r *rollover) inspect() error {
	info, attributes, err := r.describe(r.name)
	switch {
	case err == nil:
		r.former = &former{info, attributes}
	case !errors.Is(err, iofs.ErrNotExist):
		return err
	}
	return r.findDefault()
}

// describe reads a subvolume in the root's directory.
func (r *rollover) describe(name string) (Subvolume, attributes, error) {
	f, err := openSubvolume(r.parent, name)
	if err != nil {
		return Subvolume{}, nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := subvolumeInfo(f)
	if err != nil {
		return Subvolume{}, nil, err
	}
	a, err := r.attributesOf(info.ID)
	return info, a, err
}

// refuse returns why the root must not be rolled over.
func (r *rollover) refuse() error {
	dir, err := r.openOldRoots(r.Layout, true) // first: nothing is exchanged that can't be put away
	if err != nil {
		return err
	}
	_ = dir.Close()
	if err := r.checkMount(); err != nil {
		return err
	}
	if r.former == nil {
		return nil
	}
	if err := r.refuseMounted(r.former.ID); err != nil {
		return err
	}
	for _, p := range r.Persistent {
		id, at, err := r.nestedAround(p)
		if err != nil {
			return err
		}
		if id != 0 {
			return fmt.Errorf("%w: subvolume %d at %q would become part of an old root; move it out of the root (mv on the mounted top level) and mount it from there",
				ErrPersistentRoot, id, at)
		}
	}
	return nil
}

// refuseMounted refuses a rollover that would move the root that runs.
func (r *rollover) refuseMounted(id SubvolumeID) error {
	mounted, err := r.mountedHere()
	if err == nil && mounted[id] {
		err = fmt.Errorf("%w: subvolume %d; rollover has to run before the root is mounted", ErrRootMounted, id)
	}
	return err
}

// nestedAround finds the subvolume in the root that a persistent path is, or one that it is a directory of. One that has nothing in
// that directory has only a mount point there, and does not count.
func (r *rollover) nestedAround(p string) (SubvolumeID, string, error) {
	inside := path.Join(r.Layout.Root, p)
	for at := inside; within(at, r.Layout.Root) && at != r.Layout.Root; at = path.Dir(at) {
		id, found, err := r.lookup(at)
		if found && at != inside {
			found, err = r.holdsSomething(inside)
		}
		if found || err != nil {
			return id, at, err
		}
	}
	return 0, "", nil
}

// holdsSomething tells whether a directory, relative to the top level, is there and not empty.
func (fs *Filesystem) holdsSomething(p string) (bool, error) {
	dir, err := openBeneath(fs.top, p)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = dir.Close() }()
	_, err = dir.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// swap puts the staged root in the root's place: exchanged with the former root, or moved where there is none. When the
// default subvolume can't follow, all is as before.
func (r *rollover) swap(fresh SubvolumeID) error {
	flags := uint(unix.RENAME_EXCHANGE)
	if r.former == nil {
		flags = unix.RENAME_NOREPLACE
	}
	if err := r.kernel.rename(r.parent, r.staged, r.parent, r.name, flags); err != nil {
		return err
	}
	err := r.follow(fresh)
	if err == nil {
		return nil
	}
	return errors.Join(err, r.kernel.rename(r.parent, r.name, r.parent, r.staged, flags))
}

// rolledOverAt is the time of the rollover: now, but never before the root was last changed. So machines whose clock
// starts in 1970 and is set later give their old roots the time at which they were last used.
func (r *rollover) rolledOverAt(s Subvolume) time.Time {
	now := r.Now.UTC()
	if s.Changed.After(now) {
		now = s.Changed
	}
	return clampYear(now)
}
