package change

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// Options say where to work.
type Options struct {
	Config  config.LoadOptions
	Sysroot string // where the booted system is mounted
}

// Carry carries a request out. It changes nothing before it knows that all can be done, as far as that can be known.
//
// The root is marked first, the entry recorded then, with the root that it is on, and put in place: a crash in between leaves a mark
// that nobody needs, or an entry that the next boot completes, from that root. It is forgotten the other way round: a crash in between leaves an entry that is not in place, and the next boot
// puts it there, or the same request completes.
func Carry(ctx context.Context, o Options, r Request) Reply {
	reply := Reply{ID: r.ID}
	c, err := o.load()
	if err == nil {
		err = o.carry(ctx, c, r, &reply)
	}
	reply.fail(err)
	return reply
}

// load reads the configuration with what is recorded. A record that can't be read must not be written anew.
func (o Options) load() (*config.Config, error) {
	c, err := config.Load(o.Config)
	if err == nil {
		err = config.AddRecorded(o.Sysroot, c)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfiguration, err)
	}
	return c, nil
}

func (o Options) carry(ctx context.Context, c *config.Config, r Request, reply *Reply) error {
	e, known, err := Decide(c, o.Sysroot, r)
	if err == nil && !known {
		e.Kind, err = o.kindOf(c, e)
	}
	if err != nil {
		return err
	}
	reply.Method = e.Method
	switch r.Deed {
	case Add:
		return o.add(ctx, c, e, r, reply)
	case Remove:
		return o.remove(ctx, c, e, r, reply)
	case Unmount:
		return o.unmount(ctx, c, e, r, reply)
	}
	return fmt.Errorf("deed %q: %w", r.Deed, ErrInvalid)
}

// kindOf looks what is there.
func (o Options) kindOf(c *config.Config, e persist.Entry) (persist.Kind, error) {
	found, err := persist.EntryFor(c.In(o.Sysroot), e.Volume, e.Target)
	return found.Kind, err
}

// add begins to keep an entry.
func (o Options) add(ctx context.Context, c *config.Config, e persist.Entry, r Request, reply *Reply) error {
	on, in := o.rootOf(c, e.Target)
	e.AddedIn = in
	record, err := newRecord(o.Sysroot, c, e.Volume)
	if err != nil {
		return err
	}
	if err := record.check(append(record.entries, e)); err != nil {
		return err
	}
	a, err := persist.PlanAdopt(ctx, c.In(o.Sysroot), e)
	if err != nil {
		return err
	}
	if r.NextBoot && a.State == persist.Missing && in != (persist.RootName{}) {
		if err := o.partOf(on, e.Target); err != nil {
			return err
		}
	}
	reply.Writers = texts(a.Writers)
	reply.Plan = append([]Line{{fmt.Sprintf("record %s in %s", e.Target, config.RecordPath(e.Volume)), "so that it is kept from boot to boot"}}, lines(a.Steps)...)
	if r.NextBoot {
		reply.Plan[0].Why = "the next boot takes it from this root"
		reply.Plan = reply.Plan[:1]
	}
	switch {
	case a.State == persist.Conflict || a.State == persist.Failed:
		return fmt.Errorf("adopt %s: %w", e.Target, a.Err)
	case r.NextBoot && a.Kept && a.State == persist.Missing:
		return fmt.Errorf("adopt %s: %s is on the volume already, and the next boot would show that instead of what is there by then: %w", e.Target, e.Source, persist.ErrConflict)
	case r.DryRun:
		return ctx.Err()
	case len(a.Writers) > 0 && !r.NextBoot:
		return &persist.WritersError{Target: e.Target, Writers: a.Writers}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if in != (persist.RootName{}) {
		if err := btrfsops.MarkRecorded(on); err != nil {
			return err
		}
	}
	if err := record.write(append(record.entries, e)); err != nil || r.NextBoot {
		return err
	}
	result, err := persist.Adopt(ctx, c.In(o.Sysroot), e)
	reply.Done = result.Actions
	if placed := result.State == persist.InPlace || result.State == persist.Drifted; err != nil && !placed {
		return errors.Join(err, record.write(record.entries)) // as it was before
	}
	return err
}

// partOf refuses what is on another mount than the root that is mounted at on: in the root itself the next boot would find nothing of it.
func (o Options) partOf(on, target string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(filepath.Join(o.Sysroot, target)))
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if len(m.Mountpoint) > len(on) {
			at := filepath.Join("/", strings.TrimPrefix(m.Mountpoint, o.Sysroot))
			return fmt.Errorf("adopt %s: it is on what is mounted at %s, and the next boot takes what the root itself has: %w", target, at, persist.ErrNotSupported)
		}
	}
	return nil
}

// rootOf gives where the root is mounted that a path is on, and its name; none where there is none.
func (o Options) rootOf(c *config.Config, target string) (dir string, in persist.RootName) {
	on, found := c.EphemeralOf(target)
	dir = filepath.Join(o.Sysroot, on.MountPoint)
	name, err := btrfsops.NameOf(dir)
	if !found || err != nil || name.UUID == "" {
		return "", in
	}
	return dir, persist.RootName{Subvolume: uint64(name.ID), UUID: name.UUID}
}

// remove ends the keeping of an entry.
func (o Options) remove(ctx context.Context, c *config.Config, e persist.Entry, r Request, reply *Reply) error {
	steps, err := persist.PlanForget(ctx, c.In(o.Sysroot), e)
	if err != nil && !r.NextBoot {
		return err
	}
	if r.NextBoot {
		steps = nil
	}
	reply.Plan = lines(steps)
	record, err := newRecord(o.Sysroot, c, e.Volume)
	if err != nil {
		return err
	}
	isRecorded := recorded(record.entries, e)
	if isRecorded {
		reply.Plan = append(reply.Plan, Line{fmt.Sprintf("remove %s from %s", e.Target, config.RecordPath(e.Volume)), "what is at " + e.Source + " stays there"})
	}
	if r.DryRun {
		return ctx.Err()
	}
	if !r.NextBoot {
		result, err := persist.Forget(ctx, c.In(o.Sysroot), e)
		if err != nil {
			return err
		}
		reply.Done = result.Actions
	}
	if !isRecorded {
		return nil
	}
	return record.write(slices.DeleteFunc(slices.Clone(record.entries), func(o persist.Entry) bool { return o.Target == e.Target }))
}

// unmount takes the mount of an entry away.
func (o Options) unmount(ctx context.Context, c *config.Config, e persist.Entry, r Request, reply *Reply) error {
	reply.Plan = []Line{{"unmount " + e.Target, "asked for"}}
	if r.DryRun {
		return ctx.Err()
	}
	err := persist.Unmount(ctx, c.In(o.Sysroot), []persist.Entry{e})
	if err == nil {
		reply.Done = "unmounted"
	}
	return err
}

// record is what is recorded on a volume.
type record struct {
	root    string
	volume  persist.Volume
	entries []persist.Entry
}

func newRecord(root string, c *config.Config, volume string) (record, error) {
	r := record{root: root, volume: persist.Volume{Path: volume}}
	for _, v := range c.Volumes {
		if v.Path == volume {
			r.volume = v
		}
	}
	entries, err := config.ReadRecorded(root, r.volume)
	r.entries = slices.Clip(entries)
	return r, err
}

func (r record) check(entries []persist.Entry) error {
	if err := config.CheckRecorded(r.volume, entries); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (r record) write(entries []persist.Entry) error {
	return config.WriteRecorded(r.root, r.volume, entries)
}

func lines(steps []persist.Step) []Line {
	var lines []Line
	for _, s := range steps {
		lines = append(lines, Line{s.String(), s.Reason()})
	}
	return lines
}

func texts(writers []persist.Writer) []string {
	var texts []string
	for _, w := range writers {
		texts = append(texts, w.String())
	}
	return texts
}
