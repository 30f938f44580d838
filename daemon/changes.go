package daemon

import (
	"context"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// ListLosses starts a job that finds what the next boot will lose.
func (d *Daemon) ListLosses(_ context.Context, c dbus.Caller, f dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	places, err := d.places()
	if err != nil {
		return 0, toBus(err)
	}
	return d.start(jobs.Request{
		Operation: "list-losses", Sender: c.Sender, UID: c.UID, Cancelable: true,
		Run: func(ctx context.Context, p *jobs.Progress) error {
			p.Stage("searching")
			return out.Send(ctx, func(l *dbus.Lines) error { return d.sendLosses(ctx, p, places, f, l) })
		},
	})
}

// sendLosses is the job.
func (d *Daemon) sendLosses(ctx context.Context, p *jobs.Progress, places []place, f dbus.ChangeFilter, to *dbus.Lines) error {
	state, unknown := d.lossStateOf(places)
	t, err := d.losses(ctx, places, f, func(c dbus.FileChange) error { return to.Change(&c) })
	if err != nil {
		return err
	}
	if unknown == nil && len(f.Paths) == 0 && f.Since.IsZero() {
		d.learnLosses(state, t)
	}
	p.Items(t.count, t.count, 0)
	p.Detail("bytes", t.bytes)
	return nil
}

// losses finds what the next boot will lose, and counts what of it no rule ignores.
func (d *Daemon) losses(ctx context.Context, places []place, f dbus.ChangeFilter, each func(dbus.FileChange) error) (t totals, err error) {
	for _, at := range places {
		err = d.search(ctx, at, f, func(c dbus.FileChange) error {
			if c.Rule == "" {
				t.add(c)
			}
			return each(c)
		})
		if err != nil {
			break
		}
	}
	return t, err
}

// totals count losses.
type totals struct{ count, bytes uint64 }

func (t *totals) add(c dbus.FileChange) {
	t.count++
	if c.Change != string(btrfsops.ChangeDeleted) {
		t.bytes += c.Size
	}
}

// search finds what the next boot will lose at one ephemeral mount point.
func (d *Daemon) search(ctx context.Context, at place, f dbus.ChangeFilter, each func(dbus.FileChange) error) error {
	kept, err := d.keptAt(ctx, at)
	if err != nil {
		return err
	}
	rules := d.ignoreRules()
	return d.files.use(at, func(fs *btrfsops.Filesystem) error {
		base, err := nextBase(fs, at.guards.Layout)
		if err != nil {
			return err
		}
		return fs.Compare(ctx, btrfsops.Comparison{Layout: at.guards.Layout, Base: base}, func(c btrfsops.Change) error {
			p := abs(at.mountPoint, c.Path)
			leads := c.Kind == btrfsops.ChangeAdded && c.Type == btrfsops.TypeDirectory && kept.Leads(p)
			if kept.Holds(p) || leads || !selects(f, p, c) {
				return nil
			}
			shown := showChange(at.mountPoint, c)
			if rule := rules.Ignored(p, c.Type == btrfsops.TypeDirectory || c.Type == btrfsops.TypeSubvolume); rule != nil {
				if !f.Ignored {
					return nil
				}
				shown.Rule = rule.String()
			}
			return each(shown)
		})
	})
}

// nextBase is the subvolume that the next boot makes a root of, relative to the top level; "" for none. One that is to keep
// its root is looked at as if it were not.
func nextBase(fs *btrfsops.Filesystem, l btrfsops.Layout) (string, error) {
	_, root, err := nextRoot(fs, l)
	if err != nil || root.ID == 0 {
		return l.Template, err
	}
	return root.Path, nil
}

// abs is a path of a root as it is on the machine.
func abs(mountPoint, p string) string {
	if p == "." {
		return mountPoint
	}
	return joinPath(mountPoint, p)
}

// joinPath is filepath.Join for a path that is clean.
func joinPath(mountPoint, p string) string {
	if mountPoint == "/" {
		return "/" + p
	}
	return mountPoint + "/" + p
}

// selects says whether a filter lets a change through.
func selects(f dbus.ChangeFilter, p string, c btrfsops.Change) bool {
	if !c.Changed.IsZero() && c.Changed.Before(f.Since) {
		return false
	}
	for _, wanted := range f.Paths {
		if persist.Within(p, wanted) {
			return true
		}
	}
	return len(f.Paths) == 0
}

// aspectNames are the words of the bus, in its order.
var aspectNames = []struct {
	aspect btrfsops.Aspects
	name   string
}{
	{btrfsops.AspectContent, "content"},
	{btrfsops.AspectType, "type"},
	{btrfsops.AspectMode, "mode"},
	{btrfsops.AspectOwner, "owner"},
	{btrfsops.AspectXattrs, "xattrs"},
	{btrfsops.AspectFlags, "flags"},
}

// showChange is a change as the bus shows it.
func showChange(mountPoint string, c btrfsops.Change) dbus.FileChange {
	shown := dbus.FileChange{
		Change: string(c.Kind), Path: dbus.Bytes(abs(mountPoint, c.Path)), Type: string(c.Type), Size: c.Size, Link: c.Link,
		Mode: c.Mode, UID: c.UID, GID: c.GID, Modified: written(c.Modified), Changed: written(c.Changed), Subvolume: uint64(c.Subvolume),
	}
	if c.From != "" {
		shown.From = dbus.Bytes(abs(mountPoint, c.From))
	}
	for _, a := range aspectNames {
		if c.Aspects&a.aspect != 0 {
			shown.Aspects = append(shown.Aspects, a.name)
		}
	}
	if b := c.Before; b != nil {
		shown.Before = &dbus.FileBefore{
			Type: string(b.Type), Size: b.Size, Mode: b.Mode, UID: b.UID, GID: b.GID, Modified: written(b.Modified),
		}
	}
	return shown
}

// written is a time of a file as RFC 3339 can have it: a file may say anything.
func written(t time.Time) time.Time {
	const first, last = -62135596799, 253402300799 // the years 1 to 9999
	if s := t.Unix(); s < first || s > last {
		return time.Unix(min(max(s, first), last), 0).UTC()
	}
	return t
}

// CompareRoots starts a job that finds in what a root differs from a base.
func (d *Daemon) CompareRoots(_ context.Context, c dbus.Caller, base, root uint64, f dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	at, compared, objects, err := d.compared(base, root)
	if err != nil {
		return 0, toBus(err)
	}
	return d.start(jobs.Request{
		Operation: "compare-roots", Objects: objects, Sender: c.Sender, UID: c.UID, Cancelable: true,
		Run: func(ctx context.Context, p *jobs.Progress) error {
			p.Stage("comparing")
			return out.Send(ctx, func(l *dbus.Lines) error { return d.sendComparison(ctx, p, at, compared, f, l) })
		},
	})
}

// compared finds what is to be compared: both have to be of one ephemeral mount point, "/" when neither says which.
func (d *Daemon) compared(base, root uint64) (at place, c btrfsops.Comparison, objects []string, err error) {
	if at, err = d.root(); err != nil {
		return at, c, nil, err
	}
	where := ""
	for _, side := range []struct {
		id   uint64
		path *string
	}{{base, &c.Base}, {root, &c.Root}} {
		if side.id == 0 {
			continue
		}
		found, err := d.find(side.id)
		if err != nil {
			return at, c, nil, err
		}
		if where != "" && where != found[0].place.mountPoint {
			return at, c, nil, named(dbus.ErrInvalidArgs, "compare roots: one is of %s, the other of %s", where, found[0].place.mountPoint)
		}
		at, where, *side.path = found[0].place, found[0].place.mountPoint, found[0].Path
		objects = append(objects, string(dbus.RootPath(side.id)))
	}
	c.Layout = at.guards.Layout
	if base == 0 {
		c.Base = at.guards.Layout.Template
	}
	return at, c, objects, nil
}

// sendComparison is the job.
func (d *Daemon) sendComparison(ctx context.Context, p *jobs.Progress, at place, c btrfsops.Comparison, f dbus.ChangeFilter, to *dbus.Lines) error {
	var t totals
	err := d.files.use(at, func(fs *btrfsops.Filesystem) error {
		return fs.Compare(ctx, c, func(change btrfsops.Change) error {
			if !selects(f, abs(at.mountPoint, change.Path), change) {
				return nil
			}
			shown := showChange(at.mountPoint, change)
			t.add(shown)
			return to.Change(&shown)
		})
	})
	p.Items(t.count, t.count, 0)
	p.Detail("bytes", t.bytes)
	return err
}
