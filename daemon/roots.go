package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

// guardedRoot is an old root or snapshot with where it is and why it may not be deleted.
type guardedRoot struct {
	btrfsops.GuardedRoot
	place place
}

func (r guardedRoot) outside() uint64 { return r.place.outside(r.ID) }

// listing is all roots of some places at one moment, oldest first.
type listing struct {
	roots []guardedRoot
	shown []dbus.Root // the same, as the bus shows them

	failed map[string]error // by mount point: why those of a place are not known
}

// err is what is wrong with the whole: nil when all are known.
func (l *listing) err() error {
	var all []error
	for _, mountPoint := range slices.Sorted(maps.Keys(l.failed)) {
		all = append(all, l.failed[mountPoint])
	}
	return errors.Join(all...)
}

// list returns the roots of places: as they were seen last, when nothing speaks against that.
func (d *Daemon) list(places []place) (*listing, error) {
	return d.cache.list(places, func() (*listing, error) { return d.lookAtRoots(places) })
}

// lookAtRoots reads the roots of places. One whose file system is not there costs those of the others nothing.
func (d *Daemon) lookAtRoots(places []place) (*listing, error) {
	l := &listing{roots: []guardedRoot{}, shown: []dbus.Root{}, failed: map[string]error{}}
	for _, p := range places {
		err := d.files.use(p, func(fs *btrfsops.Filesystem) error {
			roots, err := fs.ListGuarded(p.guards)
			l.roots = slices.Grow(l.roots, len(roots))
			for _, r := range roots {
				l.roots = append(l.roots, guardedRoot{r, p})
			}
			return err
		})
		if err != nil {
			if len(places) == 1 {
				return nil, err
			}
			l.failed[p.mountPoint] = fmt.Errorf("%s: %w", p.mountPoint, err)
		}
	}
	sort.SliceStable(l.roots, func(i, j int) bool {
		a, b := &l.roots[i], &l.roots[j]
		return cmp.Or(a.RolledOver.Compare(b.RolledOver), cmp.Compare(a.outside(), b.outside())) < 0
	})
	l.shown = slices.Grow(l.shown, len(l.roots))
	for _, r := range l.roots {
		l.shown = append(l.shown, r.show())
	}
	d.sizes.fill(l)
	return l, nil
}

// rootsOf returns the roots of one place, oldest first, as list does.
func (d *Daemon) rootsOf(p place) ([]guardedRoot, error) {
	places, err := d.findPlaces()
	if err != nil {
		return nil, err
	}
	all, err := d.list(places)
	if err != nil {
		return nil, err
	}
	if err := all.failed[p.mountPoint]; err != nil {
		return nil, err
	}
	var roots []guardedRoot
	for _, r := range all.roots {
		if r.place.mountPoint == p.mountPoint {
			roots = append(roots, r)
		}
	}
	return roots, nil
}

// find returns the roots with these ids, each once, in the order of the ids.
func (d *Daemon) find(ids ...uint64) ([]guardedRoot, error) {
	places, err := d.places()
	if err != nil {
		return nil, err
	}
	return d.findIn(places, ids...)
}

// findIn is find among the roots of places.
func (d *Daemon) findIn(places []place, ids ...uint64) ([]guardedRoot, error) {
	all, err := d.list(places)
	if err != nil {
		return nil, err
	}
	byID := make(map[uint64]guardedRoot, len(all.roots))
	for _, r := range all.roots {
		byID[r.outside()] = r
	}
	var found []guardedRoot
	for _, id := range ids {
		r, ok := byID[id]
		switch {
		case !ok && all.err() != nil:
			return nil, all.err()
		case !ok:
			return nil, named(dbus.ErrNoSuchRoot, "there is no old root or snapshot with id %d", id)
		case !slices.ContainsFunc(found, func(f guardedRoot) bool { return f.outside() == id }):
			found = append(found, r)
		}
	}
	return found, nil
}

// Roots lists the old roots and snapshots that f selects, oldest first. The list is not to be changed.
func (d *Daemon) Roots(ctx context.Context, f dbus.RootFilter) ([]dbus.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, toBus(err)
	}
	places, err := d.places()
	if err != nil {
		return nil, toBus(err)
	}
	all, err := d.list(places)
	if err == nil {
		err = all.err()
	}
	if err != nil {
		return nil, toBus(err)
	}
	if f == (dbus.RootFilter{}) {
		return all.shown, nil
	}
	selected := make([]dbus.Root, 0, len(all.shown))
	for _, r := range all.shown {
		if (f.Kind == "" || f.Kind == r.Kind) && (f.Pinned == nil || *f.Pinned == r.Pinned) {
			selected = append(selected, r)
		}
	}
	return selected, nil
}

// show is a root as the bus shows it.
func (r guardedRoot) show() dbus.Root {
	return dbus.Root{
		ID: r.outside(), Name: r.Name, Kind: string(r.Kind), Label: r.Label, UUID: r.UUID, Path: r.Path, BootID: r.BootID,
		Created: r.Created, RolledOver: r.RolledOver, ReadOnly: r.ReadOnly, Pinned: r.Pinned, Deleting: r.Deleting, HeldRoot: r.HeldRoot,
		ProtectReasons: reasonNames(r.Reasons),
	}
}

func reasonNames(reasons []btrfsops.ProtectReason) []string {
	names := make([]string, len(reasons))
	for i, r := range reasons {
		names[i] = string(r)
	}
	return names
}

// SetPinned pins a root, or lets retention have it again.
func (d *Daemon) SetPinned(_ context.Context, id uint64, pinned bool) error {
	return toBus(d.annotate(id, func(fs *btrfsops.Filesystem, r guardedRoot) error {
		return fs.SetPinned(r.place.guards.Layout, r.ID, pinned)
	}))
}

// SetLabel changes the label of a root.
func (d *Daemon) SetLabel(_ context.Context, id uint64, label string) error {
	return toBus(d.annotate(id, func(fs *btrfsops.Filesystem, r guardedRoot) error {
		return fs.SetLabel(r.place.guards.Layout, r.ID, label)
	}))
}

// annotate changes what stands on a root.
func (d *Daemon) annotate(id uint64, change func(*btrfsops.Filesystem, guardedRoot) error) error {
	found, err := d.find(id)
	if err != nil {
		return err
	}
	r := found[0]
	return d.write(r.place, dbus.RootsChanged, func(fs *btrfsops.Filesystem) error { return change(fs, r) })
}

// write makes a change that takes no longer than a blink. Such changes wait for each other, not for a job: that one is
// named as the one in the way.
func (d *Daemon) write(p place, what dbus.Change, change func(*btrfsops.Filesystem) error) error {
	release, err := d.jobs.Claim(p.device)
	if err != nil {
		return err
	}
	defer release()
	err = d.files.use(p, change)
	d.tell(what)
	return err
}

// nextOf returns what was asked for the next boot, an old root by its id.
func nextOf(fs *btrfsops.Filesystem, p place) (string, error) {
	next, root, err := nextRoot(fs, p.guards.Layout)
	if err == nil && root.ID != 0 {
		next = strconv.FormatUint(p.outside(root.ID), 10)
	}
	return next, err
}

// nextRoot returns what was asked for the next boot, and the old root that it is the name of, if it is one.
func nextRoot(fs *btrfsops.Filesystem, l btrfsops.Layout) (next string, root btrfsops.OldRoot, err error) {
	next, err = fs.NextBoot(l)
	if err != nil || next == btrfsops.NextFresh || next == btrfsops.NextKeep {
		return next, root, err
	}
	roots, err := fs.ListRoots(l)
	if err != nil {
		return "", root, err
	}
	for _, r := range roots {
		if r.Name == next {
			return next, r, nil
		}
	}
	return btrfsops.NextFresh, root, nil // it is gone: early boot will find that too, say so, and be fresh from the boot after on
}

// SetNextBoot chooses what the next boot does.
func (d *Daemon) SetNextBoot(_ context.Context, value string) error {
	return toBus(d.setNextBoot(value))
}

func (d *Daemon) setNextBoot(value string) error {
	d.used()
	p, err := d.root()
	if err != nil {
		return err
	}
	next := value
	if value != btrfsops.NextFresh && value != btrfsops.NextKeep {
		id, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return named(dbus.ErrInvalidArgs, "next boot %q: give %q, %q, or the id of an old root", value, btrfsops.NextFresh, btrfsops.NextKeep)
		}
		found, err := d.find(id)
		if err != nil {
			return err
		}
		if found[0].place.mountPoint != p.mountPoint {
			return named(dbus.ErrInvalidArgs, "%q is an old root of %s, not of %s", found[0].Name, found[0].place.mountPoint, p.mountPoint)
		}
		next = found[0].Name
	}
	return d.write(p, dbus.ManagerChanged|dbus.RootsChanged, func(fs *btrfsops.Filesystem) error {
		d.looking.Lock()
		defer d.looking.Unlock()
		if err := fs.SetNextBoot(p.guards.Layout, next); err != nil {
			return err
		}
		d.mu.Lock()
		d.seen.next = value
		d.mu.Unlock()
		signal(d.renewal)
		return nil
	})
}
