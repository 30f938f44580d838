package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// place is an ephemeral mount point: its file system, and what must not be deleted there.
type place struct {
	mountPoint string
	index      int    // in the order of the configuration
	device     string // names the file system
	number     int    // of the file system, in the order of the configuration
	top        string // where its top level is mounted; empty: nowhere that others see
	guards     btrfsops.Guards
	mounts     uint64 // differs when any btrfs mount does
}

// places is findPlaces for somebody who wants something.
func (d *Daemon) places() ([]place, error) {
	d.used()
	return d.findPlaces()
}

// placesToDelete is places for somebody who deletes what nothing is to be taken from any more: what is recorded on the volumes is
// read again.
func (d *Daemon) placesToDelete() ([]place, error) {
	d.readAgain()
	return d.places()
}

// readAgain reads what is recorded for somebody to whom what is not known would seem not to be there.
func (d *Daemon) readAgain() {
	d.looking.Lock()
	defer d.looking.Unlock()
	d.readRecorded()
}

// findPlaces returns the configured ephemeral mount points, "/" first.
func (d *Daemon) findPlaces() ([]place, error) {
	cfg, wrong := d.current()
	if wrong != nil && len(cfg.Ephemeral) == 0 {
		return nil, wrong
	}
	if len(cfg.Ephemeral) == 0 {
		return nil, named(dbus.ErrInvalidConfiguration, "no ephemeral mount point is configured")
	}
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	places := make([]place, len(cfg.Ephemeral))
	var known [][]string // the names of each file system
	for i, e := range cfg.Ephemeral {
		if d.opts.Device != "" {
			e.Device = d.opts.Device
		}
		names, err := d.namesOf(mounts, e)
		if err != nil {
			return nil, err
		}
		number := slices.IndexFunc(known, func(others []string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(others, name) })
		})
		if number < 0 {
			number, known = len(known), append(known, nil)
		}
		known[number] = append(known[number], names...)
		places[i] = place{
			mountPoint: e.MountPoint, index: i, device: known[number][0], number: number, guards: d.guardsOf(mounts, cfg, e), mounts: mounts.print,
		}
		if err := places[i].apart(places[:i]); err != nil && d.opts.Device == "" {
			return nil, named(dbus.ErrInvalidConfiguration, "%s: %w", e.Origin, err)
		}
		if number == 0 && d.opts.Top != "" {
			places[i].top = d.opts.Top
		} else if top := d.topOfRoot(mounts, known[number]); top != "" {
			places[i].top = top
		} else if m := mounts.at(d.inSysroot(e.MountPoint)); m != nil {
			places[i].top = d.otherTop(m)
		}
	}
	return places, nil
}

// apart says why a place can't be beside others, as the configuration does where it names their devices alike: the roots of one would be
// taken for those of another.
func (p place) apart(others []place) error {
	l := p.guards.Layout
	for _, o := range others {
		first := o.guards.Layout
		if o.number == p.number && (l.Root == first.Root || persist.Within(first.OldRoots, l.OldRoots) || persist.Within(l.OldRoots, first.OldRoots)) {
			return fmt.Errorf("%s and %s are on one file system, and share %q or %q: give each a subvolume and oldRoots of its own", o.mountPoint, p.mountPoint, first.Root, first.OldRoots)
		}
	}
	return nil
}

// root returns the first place: where "/" is.
func (d *Daemon) root() (place, error) {
	places, err := d.findPlaces()
	if err != nil {
		return place{}, err
	}
	return places[0], nil
}

// guardsOf gathers what the file system itself does not know of what must stay.
func (d *Daemon) guardsOf(mounts mountTable, cfg *config.Config, e config.Ephemeral) btrfsops.Guards {
	g := btrfsops.Guards{
		Layout: btrfsops.Layout{Root: e.Subvolume, OldRoots: e.OldRoots, Template: e.Template},
		Booted: mountedSubvolume(mounts.at(d.inSysroot(e.MountPoint))),
	}
	for _, other := range cfg.Ephemeral {
		if other.MountPoint != e.MountPoint {
			g.Persistent = append(g.Persistent, other.Subvolume, other.OldRoots)
			if other.Template != "" {
				g.Persistent = append(g.Persistent, other.Template)
			}
		}
	}
	for _, v := range cfg.Volumes {
		if m := mounts.holding(d.inSysroot(v.Path)); m != nil && m.Root != "/" {
			g.Persistent = append(g.Persistent, strings.TrimPrefix(m.Root, "/"))
		}
	}
	g.Awaited, g.Unread = d.awaited(cfg), d.recordsMissing()
	return g
}

// recordsMissing tells whether there may be recorded entries that are not known: a record can't be read, or its volume was not
// mounted when it was looked for.
func (d *Daemon) recordsMissing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unread != nil || d.unmounted
}

// awaited names the roots that entries are still to be taken from, as they have no source yet.
func (d *Daemon) awaited(cfg *config.Config) []btrfsops.RootName {
	var names []btrfsops.RootName
	for _, v := range cfg.Volumes {
		for i := range v.Entries {
			name, known := former.RootOf(v.Entries[i])
			if !known {
				continue
			}
			if _, err := os.Lstat(d.inSysroot(v.Entries[i].Source)); err != nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// namesOf names the file system of an ephemeral mount point: first the device that is configured, else the one that is mounted there or at
// "/", and then the number of what is mounted, unless that is surely another one. Symlinks of devices are followed where they lead somewhere; a
// service without devices sees none lead anywhere.
func (d *Daemon) namesOf(mounts mountTable, e config.Ephemeral) ([]string, error) {
	spec := e.Device
	m := mounts.at(d.inSysroot(e.MountPoint))
	if spec == "" && m == nil { // then it is the root's, as for early boot
		m = mounts.at(d.inSysroot("/"))
	}
	if spec == "" && m != nil {
		spec = m.Source
	}
	if spec == "" {
		return nil, named(dbus.ErrNotBtrfs, "%s: no device is configured for %q, and no btrfs is mounted there", e.Origin, e.MountPoint)
	}
	device, err := btrfsops.ResolveDevice(spec)
	if err != nil {
		return nil, named(dbus.ErrInvalidConfiguration, "%s: %w", e.Origin, err)
	}
	names := []string{device}
	target, err := filepath.EvalSymlinks(device)
	if err == nil {
		names[0] = target
	}
	if m != nil {
		mounted, errMounted := filepath.EvalSymlinks(m.Source)
		if err != nil || errMounted == nil && mounted == target {
			names = append(names, numberOf(m))
		}
	}
	return names, nil
}

// topOfRoot returns where the top level of the root's file system is mounted, when that is the one with these names; else empty.
func (d *Daemon) topOfRoot(mounts mountTable, names []string) string {
	top := filepath.Join(d.opts.RunDir, "top")
	m := mounts.at(top)
	if mountedSubvolume(m) != btrfsops.TopLevelID {
		return ""
	}
	device, err := filepath.EvalSymlinks(m.Source)
	if slices.Contains(names, numberOf(m)) || err == nil && slices.Contains(names, device) {
		return top
	}
	return ""
}

// otherTop returns where the top level of another file system than the root's is mounted, which has something mounted. Where this process
// can't open it by itself it is mounted for it; empty: nowhere.
func (d *Daemon) otherTop(mounted *mountinfo.Info) string {
	d.topping.Lock()
	defer d.topping.Unlock()
	at := filepath.Join(d.opts.RunDir, "tops", numberOf(mounted))
	isTop := func() bool {
		mounts, err := readMounts()
		if err != nil {
			return false
		}
		m := mounts.at(at)
		return mountedSubvolume(m) == btrfsops.TopLevelID && numberOf(m) == numberOf(mounted)
	}
	if isTop() {
		return at
	}
	ctx, end := context.WithTimeout(context.Background(), topPatience)
	defer end()
	if err := d.opts.Browser.MountTop(ctx, mounted.Source, at); err != nil {
		d.log.Warnw("mount the top level of a file system", "device", mounted.Source, "error", err)
	}
	if isTop() {
		return at
	}
	return ""
}

// topPatience is how long it may take to mount a top level whose file system is mounted already.
const topPatience = 10 * time.Second

// inSysroot is where a path of the booted system is for this process.
func (d *Daemon) inSysroot(p string) string { return filepath.Join(d.opts.Sysroot, p) }

// numberShift is where the number of the file system stands in the id of a root. Ids of subvolumes count from 256 up: one
// made every microsecond takes nine years to get here.
const numberShift = 48

// outside is the id by which a root of this place is known outside.
func (p place) outside(id btrfsops.SubvolumeID) uint64 {
	if id == 0 {
		return 0
	}
	return uint64(p.number)<<numberShift | uint64(id)
}
