package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
)

// A systemd initrd reads the root's fstab once the root is there: one line for the initrd, and it has PID 1 read all units again, which
// takes longer than all that is done here. So what rollover is certain about is mounted by persist, and the initrd is told to read no fstab:
// a drop-in of initrd-parse-etc.service has it read the environment below. Without persist such a volume is one that the system mounts.

const (
	// volumesName is the name of the lines that persist mounts, in the runtime directory.
	volumesName = "volumes.fstab"
	// environmentName is that of the environment of systemd-sysroot-fstab-check. Where it is, volumesName is too.
	environmentName = "initrd-parse-etc.env"
	environment     = "SYSTEMD_SYSROOT_FSTAB=/dev/null\n"
)

// btrfsOptions are options of btrfs that persist passes on as they are; "defaults" and the like say nothing.
var btrfsOptions = []string{
	"subvol", "subvolid", "compress", "compress-force", "space_cache", "ssd", "nossd", "discard", "nodiscard", "autodefrag", "noautodefrag",
	"commit", "user_subvol_rm_allowed", "degraded",
}

// volumesOf returns the lines of a root's fstab that are for the initrd, when persist can mount every one of them. One that it can't has
// the initrd read them all.
func volumesOf(fs *btrfsops.Filesystem, layout btrfsops.Layout) fstab.Table {
	table := readFstab(fs, layout)
	var volumes fstab.Table
	for i, line := range table {
		if line.Point == "" && !isComment(line) {
			return nil
		}
		if _, marked := line.Option("x-initrd.mount"); !marked && path.Clean(line.Point) != "/usr" {
			continue
		}
		alone := !slices.ContainsFunc(append(table[:i:i], table[i+1:]...), func(other fstab.Line) bool { return overlap(other.Point, line.Point) })
		if !alone || !isPlainVolume(line) || !fs.HasDevice(deviceOrNone(line.Spec)) || !fs.HasDirectory(layout, line.Point[1:]) {
			return nil
		}
		volumes = append(volumes, line)
	}
	return volumes
}

// isComment tells whether a line says nothing.
func isComment(line fstab.Line) bool {
	text := strings.TrimSpace(line.Text)
	return text == "" || strings.HasPrefix(text, "#")
}

// overlap tells whether one of two mount points is the other or lies in it. The root has all in it, and does not count.
func overlap(a, b string) bool {
	_, in := below(a, b)
	_, around := below(b, a)
	return a != "/" && (in || around || path.Clean(a) == path.Clean(b))
}

// isPlainVolume tells whether what a line says is all known here: a btrfs at a directory, and no wish that is systemd's or mount(8)'s to meet.
func isPlainVolume(line fstab.Line) bool {
	if line.Type != "btrfs" || !path.IsAbs(line.Point) || path.Clean(line.Point) != line.Point || line.Point == "/" || line.Point == "/usr" {
		return false
	}
	_, _, known := splitOptions(line.Options)
	return known
}

// splitOptions splits options of a mount into attributes, as fsmount(2) takes them, and those that are btrfs's. known is false where one is
// neither, and says something.
func splitOptions(options []string) (attributes uint64, ours []string, known bool) {
	attributes, others := persist.MountAttributes(options)
	ours = slices.DeleteFunc(others, saysNothing)
	return attributes, ours, !slices.ContainsFunc(ours, func(option string) bool {
		name, _, _ := strings.Cut(option, "=")
		return !slices.Contains(btrfsOptions, name)
	})
}

// saysNothing tells whether an option changes nothing of a mount that is made here.
func saysNothing(option string) bool {
	return slices.Contains([]string{"", "defaults", "auto", "nofail"}, option) ||
		strings.HasPrefix(option, "x-") && !strings.HasPrefix(option, "x-systemd.")
}

// writeVolumes leaves the lines for persist, and then what has the initrd leave them alone.
func writeVolumes(runDir string, volumes fstab.Table) error {
	if len(volumes) == 0 {
		return nil
	}
	for _, file := range [][2]string{{volumesName, volumes.String()}, {environmentName, environment}} {
		if err := renameio.WriteFile(filepath.Join(runDir, file[0]), []byte(file[1]), 0o644, renameio.WithTempDir(runDir)); err != nil {
			return fmt.Errorf("write what volumes persist mounts: %w", err)
		}
	}
	return nil
}

// mountVolumes mounts what rollover left to persist, where the initrd has not done so all the same.
func mountVolumes(runDir, sysroot string) error {
	data, err := os.ReadFile(filepath.Join(runDir, volumesName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what volumes to mount: %w", err)
	}
	var failed []error
	for _, line := range fstab.Parse(string(data)) {
		if err := mountVolume(sysroot, line); err != nil {
			failed = append(failed, fmt.Errorf("mount the volume %s: %w", line.Point, err))
		}
	}
	return errors.Join(failed...)
}

func mountVolume(sysroot string, line fstab.Line) error {
	attributes, options, _ := splitOptions(line.Options)
	made, err := btrfsops.MountInRoot(deviceOrNone(line.Spec), options, int(attributes), sysroot, line.Point[1:])
	if !made {
		return err
	}
	return persist.NoteVolume(sysroot, line.Point, line.Options)
}
