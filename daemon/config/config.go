package config

import (
	"slices"
	"time"

	"github.com/impermanence/impermanence/persist"
)

// Config is the whole configuration, merged from its files.
type Config struct {
	Ephemeral []Ephemeral // sorted by mount point, so "/" is first
	Retention Retention
	Volumes   []persist.Volume // those that are enabled, in the order of their paths
}

// Entries gives the entries of all volumes.
func (c *Config) Entries() []persist.Entry {
	lists := make([][]persist.Entry, len(c.Volumes))
	for i, v := range c.Volumes {
		lists[i] = v.Entries
	}
	return slices.Concat(lists...)
}

// MountPoints gives the ephemeral mount points.
func (c *Config) MountPoints() []string {
	points := make([]string, len(c.Ephemeral))
	for i, e := range c.Ephemeral {
		points[i] = e.MountPoint
	}
	return points
}

// In gives the options to work on entries in the root that is mounted at root.
func (c *Config) In(root string) persist.Options { return persist.NewOptions(root, c.MountPoints()) }

// VolumesMounted tells whether no volume is missing, below root.
func (c *Config) VolumesMounted(root string) bool {
	opts := c.In(root)
	return !slices.ContainsFunc(c.Volumes, func(v persist.Volume) bool { return !persist.VolumeMounted(opts, v.Path) })
}

// OnFailure says what early boot does when a rollover fails.
type OnFailure uint8

// What to do when a rollover fails.
const (
	Continue  OnFailure = iota // boot the former root
	Emergency                  // stop in the emergency shell
)

// String gives the name that the configuration uses.
func (o OnFailure) String() string {
	if o == Emergency {
		return "emergency"
	}
	return "continue"
}

// Ephemeral is a mount point whose root is fresh at every boot.
type Ephemeral struct {
	MountPoint string
	Device     string // path, UUID=, LABEL=, PARTUUID= or PARTLABEL=; empty: the kernel command line's root=
	Subvolume  string // the root, relative to the top level; default "root"
	OldRoots   string // directory of the old roots, relative to the top level; default "old_roots"
	Template   string // relative to the top level; empty: a fresh root is an empty subvolume
	OnFailure  OnFailure
	Origin     Origin
}

// Origin is where something was configured.
type Origin = persist.Origin

// Retention says which old roots and snapshots are kept. The zero value keeps everything.
type Retention struct {
	KeepWithin                                                           time.Duration // relative to the newest
	KeepLast, KeepHourly, KeepDaily, KeepWeekly, KeepMonthly, KeepYearly int
	KeepLabels                                                           []string
	MinFree                                                              MinFree
}

// MinFree is the free space below which pruning goes on down to KeepLast: in percent of the file system or in bytes; the
// zero value is none.
type MinFree struct {
	Percent float64
	Bytes   uint64
}
