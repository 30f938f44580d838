package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
)

// An entry's place may be on what fstab mounts after the initrd: a /home of its own. What has nothing on its volume yet would be taken in the initrd
// from the directory that is hidden then, and made empty. So that is left to impermanence-persist.service, which puts all in place that was hidden
// and comes after what is mounted there: by a drop-in, which /run takes along, as the unit can't name mounts that are the machine's.

// dropInName is that of the drop-in, below the directory that the runtime directory is in.
const dropInName = "systemd/system/impermanence-persist.service.d/50-mounts.conf"

// laterMounts returns the lines of the root's fstab that the system mounts and that are not mounted yet.
func laterMounts(sysroot string) (fstab.Table, error) {
	return notMounted(sysroot, slices.DeleteFunc(mountLines(sysroot), func(line fstab.Line) bool {
		_, never := line.Option("noauto")
		return never
	}))
}

// mountLines returns the lines of the root's fstab that mount something below it.
func mountLines(sysroot string) fstab.Table {
	var table fstab.Table
	for _, line := range mountedFstab(sysroot) {
		if line.Point = path.Clean(line.Point); path.IsAbs(line.Point) && line.Point != "/" {
			table = append(table, line)
		}
	}
	return table
}

// notMounted returns those of the lines that are not mounted.
func notMounted(sysroot string, table fstab.Table) (fstab.Table, error) {
	later, err := persist.NotMounted(sysroot, pointsOf(table))
	return slices.DeleteFunc(table, func(line fstab.Line) bool { return !slices.Contains(later, line.Point) }), err
}

// pointsOf are the mount points of lines.
func pointsOf(lines fstab.Table) []string {
	var points []string
	for _, line := range lines {
		points = append(points, line.Point)
	}
	return points
}

// orderAfter has the system put entries in place after those of the lines are mounted that a volume or a place is on.
func orderAfter(runDir string, c *config.Config, report persist.Report, lines fstab.Table) error {
	var units []string
	for _, line := range lines {
		if isOfADisk(line) && isNeeded(c, report, line.Point) {
			units = append(units, unit.UnitNamePathEscape(line.Point)+".mount")
		}
	}
	if len(units) == 0 {
		return nil
	}
	file := filepath.Join(filepath.Dir(runDir), dropInName)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		text := "# Entries or volumes are on these.\n[Unit]\nAfter=" + strings.Join(units, " ") + "\n"
		err = renameio.WriteFile(file, []byte(text), 0o644, renameio.WithTempDir(filepath.Dir(file)))
	}
	if err != nil {
		return fmt.Errorf("have entries put in place after what they are on is mounted: %w", err)
	}
	return nil
}

// isOfADisk tells whether what a line mounts waits for a disk alone. What needs the network, or is ordered after something by hand, may come
// after entries, and is not waited for.
func isOfADisk(line fstab.Line) bool {
	isDisk := strings.HasPrefix(line.Spec, "/dev/")
	for _, tag := range []string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="} {
		isDisk = isDisk || strings.HasPrefix(line.Spec, tag)
	}
	return isDisk && !slices.ContainsFunc(line.Options, func(option string) bool {
		return option == "_netdev" || strings.HasPrefix(option, "x-systemd.") && !strings.HasPrefix(option, "x-systemd.device-timeout=")
	})
}

// isNeeded tells whether an entry's place, as it was found, or a volume is on a mount point.
func isNeeded(c *config.Config, report persist.Report, point string) bool {
	on := func(p string) bool {
		_, in := below(p, point)
		return in
	}
	return slices.ContainsFunc(c.Volumes, func(v persist.Volume) bool { return v.Path == point || on(v.Path) }) ||
		slices.ContainsFunc(report.Results, func(r persist.Result) bool { return on(r.Target) })
}
