package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// CheckRestore tells what is wrong with a restore before anything is looked at.
func (d *Daemon) CheckRestore(_ context.Context, id uint64, o dbus.RestoreOptions) error {
	found, err := d.find(id)
	if err == nil {
		_, err = restoreItems(found[0].place, o)
	}
	return toBus(err)
}

// restoreItems gives each path its place in the old root, and where it goes.
func restoreItems(p place, o dbus.RestoreOptions) ([]RestoreItem, error) {
	items := make([]RestoreItem, len(o.Paths))
	targets := map[string]string{}
	for i, asked := range o.Paths {
		source, ok := inPlace(p, path.Clean(asked))
		if !ok {
			return nil, named(dbus.ErrInvalidArgs, "%s is not below %s, which this old root is of", asked, p.mountPoint)
		}
		target := path.Clean(asked)
		if o.To != "" {
			target = path.Join(path.Clean(o.To), path.Base(target))
		}
		if first, twice := targets[target]; twice {
			return nil, named(dbus.ErrInvalidArgs, "%s and %s would both become %s", first, asked, target)
		}
		targets[target] = asked
		items[i] = RestoreItem{Source: dbus.Bytes(source), Target: dbus.Bytes(target)}
	}
	return items, nil
}

// inPlace turns a path of the running system into one of the roots of a place.
func inPlace(p place, asked string) (string, bool) {
	below, ok := strings.CutPrefix(asked+"/", strings.TrimSuffix(p.mountPoint, "/")+"/")
	return path.Join("/", below), ok
}

// Restore starts a job that brings paths of an old root back. Meanwhile nothing else changes its file system, so that what
// is read is not deleted.
func (d *Daemon) Restore(_ context.Context, c dbus.Caller, id uint64, o dbus.RestoreOptions, results *dbus.Stream) (uint64, error) {
	found, err := d.find(id)
	if err != nil {
		return 0, toBus(err)
	}
	root := found[0]
	items, err := restoreItems(root.place, o)
	if err != nil {
		return 0, err
	}
	writes := []string{root.place.device}
	if o.DryRun {
		writes = nil
	}
	return d.start(jobs.Request{
		Operation: "restore", Objects: []string{string(dbus.RootPath(root.outside()))},
		Sender: c.Sender, UID: c.UID, Cancelable: true, Writes: writes,
		Run: func(ctx context.Context, p *jobs.Progress) error {
			return d.restore(ctx, p, root, RestoreRequest{Items: items, DryRun: o.DryRun}, results)
		},
	})
}

// restore is the job. It begins when somebody reads what is told of it, and goes on when nobody does any more.
func (d *Daemon) restore(ctx context.Context, p *jobs.Progress, root guardedRoot, r RestoreRequest, results *dbus.Stream) error {
	p.Stage("waiting for the reader")
	t := &restored{progress: p, mountPoint: root.place.mountPoint}
	var err error
	began := false
	streamErr := results.Send(ctx, func(lines *dbus.Lines) error {
		began = true
		p.Stage("restoring")
		err = d.files.use(root.place, func(fs *btrfsops.Filesystem) error {
			r.From = dbus.Bytes(path.Join(cmp.Or(root.place.top, fs.Top()), root.Path))
			return d.opts.Restorer.Restore(ctx, r, func(news RestoreNews) {
				if news.Result == nil {
					p.Items(news.Entries, 0, 0)
					return
				}
				t.add(news.Result)
				_ = lines.Encode(news.Result) // a reader that goes away does not end what it has begun
			})
		})
		return err
	})
	d.tell(dbus.EntriesChanged) // one may have been restored into
	if !began {
		return streamErr
	}
	return t.result(err)
}

// restored is what a restore has done so far.
type restored struct {
	progress   *jobs.Progress
	mountPoint string // where the old root was
	counts     map[string]uint64
	bytes      uint64
	failed     failures
}

// maxNamed bounds what a job's details name; the stream has all.
const maxNamed = 20

func (t *restored) add(r *dbus.RestoreResult) {
	r.Path = dbus.Bytes(path.Join(t.mountPoint, string(r.Path)))
	if t.counts == nil {
		t.counts = map[string]uint64{}
	}
	t.counts[r.Action]++
	if r.Error == nil {
		t.bytes += r.Bytes
		return
	}
	if len(t.failed.lines) < maxNamed {
		t.failed.lines = append(t.failed.lines, fmt.Sprintf("%s: %s", r.Target, r.Error.Message))
		t.failed.causes = append(t.failed.causes, r.Error.Err())
	}
}

// result tells what was done, and returns what the job ends with.
func (t *restored) result(err error) error {
	for _, action := range []persist.RestoreAction{persist.Restored, persist.Replaced, persist.Same} {
		t.progress.Detail(string(action), t.counts[string(action)])
	}
	t.progress.Detail("bytes", t.bytes)
	done := t.counts[string(persist.Restored)] + t.counts[string(persist.Replaced)] + t.counts[string(persist.Same)]
	if failed := t.counts[string(persist.NotDone)]; failed > 0 {
		t.progress.Detail("failed", slices.Clone(t.failed.lines))
		err = errors.Join(err, &t.failed)
	}
	if err != nil && done > 0 && !errors.Is(err, context.Canceled) {
		return jobs.Partly(err)
	}
	return err
}
