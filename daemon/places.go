package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// place is an ephemeral mount point: its file system, and what must not be deleted there.
type place struct {
	mountPoint string
	device     string // names the file system
	number     int    // of the file system, in the order of the configuration
	top        string // where its top level is mounted; empty: nowhere
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
	d.looking.Lock()
	d.readRecorded()
	d.looking.Unlock()
	return d.places()
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
	numbers := map[string]int{}
	for i, e := range cfg.Ephemeral {
		if d.opts.Device != "" {
			e.Device = d.opts.Device
		}
		device, err := d.deviceOf(mounts, e)
		if err != nil {
			return nil, err
		}
		if _, known := numbers[device]; !known {
			numbers[device] = len(numbers)
		}
		places[i] = place{mountPoint: e.MountPoint, device: device, number: numbers[device], guards: d.guardsOf(mounts, cfg, e), mounts: mounts.print}
		if places[i].number == 0 {
			places[i].top = d.topLevel(mounts)
		}
	}
	return places, nil
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
	g.Awaited, g.Unread = d.awaited(cfg), d.recordsMissing(cfg)
	return g
}

// recordsMissing tells whether there may be recorded entries that are not known: a record can't be read, or its volume is not
// mounted.
func (d *Daemon) recordsMissing(cfg *config.Config) bool {
	d.mu.Lock()
	unread := d.unread
	d.mu.Unlock()
	return unread != nil || slices.ContainsFunc(cfg.Volumes, func(v persist.Volume) bool {
		return !persist.VolumeMounted(d.opts.Sysroot, v.Path)
	})
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

// deviceOf names the file system of an ephemeral mount point: the device that is configured, else the one that is
// mounted. Symlinks are followed where they lead somewhere, so that each file system has one name.
func (d *Daemon) deviceOf(mounts mountTable, e config.Ephemeral) (string, error) {
	spec := e.Device
	if m := mounts.at(d.inSysroot(e.MountPoint)); spec == "" && m != nil {
		spec = m.Source
	}
	if spec == "" {
		return "", named(dbus.ErrNotBtrfs, "%s: no device is configured for %q, and no btrfs is mounted there", e.Origin, e.MountPoint)
	}
	device, err := btrfsops.ResolveDevice(spec)
	if err != nil {
		return "", named(dbus.ErrInvalidConfiguration, "%s: %w", e.Origin, err)
	}
	if target, err := filepath.EvalSymlinks(device); err == nil {
		return target, nil
	}
	return device, nil
}

// topLevel returns where the top level of the first file system is mounted, empty when it is nowhere.
func (d *Daemon) topLevel(mounts mountTable) string {
	if d.opts.Top != "" {
		return d.opts.Top
	}
	top := filepath.Join(d.opts.RunDir, "top")
	if mountedSubvolume(mounts.at(top)) == btrfsops.TopLevelID {
		return top
	}
	return ""
}

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
