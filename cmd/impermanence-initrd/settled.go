package main

import (
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
)

// What the system has to do before local-fs.target takes time of each boot: impermanence-persist.service would find everything in place.

// settledName is the name of a mark in the runtime directory, a condition of that service: the initrd has put all in place, and nothing that
// the system still does can change that. systemd-tmpfiles removes it, once the boot has come that far.
const settledName = "in-place"

// isSettled tells whether it is certain, where each entry of the report is in place. configured is what the initrd's configuration says.
func isSettled(o options, configured *config.Config, report persist.Report) bool {
	mayHide := func(line fstab.Line) bool { return isNeeded(configured, report, line.Point) }
	lines, err := notMounted(o.sysroot, mountLines(o.sysroot))
	return err == nil && isOfTheRoot(o, configured) && configured.VolumesMounted(o.sysroot) && !slices.ContainsFunc(lines, mayHide) &&
		!hasMountUnit(o.sysroot, placesOf(configured, report))
}

// isOfTheRoot tells whether the root is configured as the initrd, which was made before the last change.
func isOfTheRoot(o options, configured *config.Config) bool {
	if o.config != "" {
		return false
	}
	root, err := config.Load(config.LoadOptions{Root: o.sysroot})
	return err == nil && reflect.DeepEqual(volumesWithoutOrigins(root), volumesWithoutOrigins(configured))
}

// volumesWithoutOrigins are the volumes of a configuration, wherever its files are.
func volumesWithoutOrigins(c *config.Config) []persist.Volume {
	volumes := slices.Clone(c.Volumes)
	for i := range volumes {
		volumes[i].Entries = slices.Clone(volumes[i].Entries)
		for j := range volumes[i].Entries {
			volumes[i].Entries[j].Origin = persist.Origin{}
		}
	}
	return volumes
}

// placesOf are the volumes and the places of entries.
func placesOf(c *config.Config, report persist.Report) []string {
	var places []string
	for _, v := range c.Volumes {
		places = append(places, v.Path)
	}
	for _, r := range report.Results {
		places = append(places, r.Target)
	}
	return places
}

// hasMountUnit tells whether the root has a unit of its own that mounts something at one of the places, or at what one is in.
func hasMountUnit(sysroot string, places []string) bool {
	units := map[string]bool{}
	for _, dir := range []string{"etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system"} {
		entries, _ := os.ReadDir(filepath.Join(sysroot, dir)) // not every root has each
		for _, entry := range entries {
			units[entry.Name()] = true
		}
	}
	for _, place := range places {
		for ; place != "/"; place = path.Dir(place) {
			if units[unit.UnitNamePathEscape(place)+".mount"] {
				return true
			}
		}
	}
	return false
}
