package daemon

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// ListVersions starts a job that looks a path up in all old roots that could have it, and in the running root.
func (d *Daemon) ListVersions(_ context.Context, c dbus.Caller, asked string, results *dbus.Stream) (uint64, error) {
	asked = path.Clean(asked)
	p, err := d.placeOf(asked)
	if err != nil {
		return 0, toBus(err)
	}
	return d.start(jobs.Request{
		Operation: "list-versions", Sender: c.Sender, UID: c.UID, Cancelable: true,
		Run: func(ctx context.Context, progress *jobs.Progress) error {
			return toBus(results.Send(ctx, func(lines *dbus.Lines) error { return d.versions(ctx, progress, p, asked, lines) }))
		},
	})
}

// placeOf finds the innermost ephemeral mount point that a path is below.
func (d *Daemon) placeOf(asked string) (place, error) {
	places, err := d.places()
	if err != nil {
		return place{}, err
	}
	found := place{}
	for _, p := range places {
		if _, ok := inPlace(p, asked); ok && len(p.mountPoint) > len(found.mountPoint) {
			found = p
		}
	}
	if found.mountPoint == "" {
		return place{}, named(dbus.ErrInvalidArgs, "%s is below no ephemeral mount point", asked)
	}
	return found, nil
}

// versions is the job.
func (d *Daemon) versions(ctx context.Context, progress *jobs.Progress, p place, asked string, lines *dbus.Lines) error {
	roots, err := d.rootsOf(p)
	if err != nil {
		return err
	}
	below, _ := inPlace(p, asked)
	seen := persist.NewVersions(ctx)
	return d.files.use(p, func(fs *btrfsops.Filesystem) error {
		for i, r := range roots {
			if err := ctx.Err(); err != nil {
				return err
			}
			line := dbus.Version{Root: r.outside(), Name: strings.ToValidUTF8(r.Name, "\ufffd"), RolledOverUSec: usec(r.RolledOver)}
			if err := lines.Encode(showVersion(line, seen, path.Join(fs.Top(), r.Path), below)); err != nil {
				return err
			}
			progress.Items(uint64(i+1), uint64(len(roots)+1), 0)
		}
		return errors.Join(lines.Encode(showVersion(dbus.Version{}, seen, d.opts.Sysroot, asked)), ctx.Err())
	})
}

// showVersion looks a path up in a root. What can't be looked at is told in its line.
func showVersion(line dbus.Version, seen *persist.Versions, dir, p string) dbus.Version {
	v, err := seen.Look(dir, p)
	if err != nil {
		info := errorInfo(err)
		line.Error = &info
	}
	line.Kind, line.Version = v.Kind.Name(), v.Number
	if v.Number == 0 {
		return line
	}
	line.Size, line.Link = v.Size, dbus.Bytes(v.Link)
	line.Mode, line.UID, line.GID = v.Owner.Mode, v.Owner.UID, v.Owner.GID
	line.ModifiedUSec = uint64(max(0, v.Version/1000))
	return line
}
