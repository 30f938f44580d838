package setup

import (
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/machine"
)

// refuse says why a machine can't be set up.
func (f *Facts) refuse(o Options) error {
	root := f.Mounts[0]
	switch {
	case len(f.Config.Ephemeral) > 0 && slices.ContainsFunc(f.Config.Ephemeral, isRoot):
		return ErrConfigured
	case f.Initrd != nil && !f.Installed, len(f.Units) == 0:
		return ErrNotInstalled
	case root.Subvolume == "":
		return fmt.Errorf("%w: the root is the top level of its file system, and has to be a subvolume: make one of it (btrfs subvolume snapshot / /@), boot that with rootflags=subvol=@, and set that up", ErrLayout)
	case root.Inner != "":
		return fmt.Errorf("%w: the root is the directory %q of subvolume %q, not a subvolume", ErrLayout, root.Inner, root.Subvolume)
	case !path.IsAbs(o.Point()) || o.Point() == "/" || ofOneBoot(o.Point()):
		return fmt.Errorf("%w: %q is no place for a volume", ErrLayout, o.Point())
	case !slices.Contains([]string{"/", o.Point()}, machine.On(f.Mounts, o.Point()).Point):
		return fmt.Errorf("%w: %s lies on what is mounted at %s, and not on the root: give another place with --volume", ErrLayout, o.Point(), machine.On(f.Mounts, o.Point()).Point)
	case len(f.Swap) > 0:
		return fmt.Errorf("%w: the swap file %s lies in the root, of which no snapshot can be made while it is in use: move it to a subvolume beside it, and mount that from fstab", ErrLayout, f.Swap[0])
	}
	for _, refused := range []error{f.refuseNames(o), f.refuseAside(), f.refuseUndone(o), f.refuseBoot(), f.refuseDatabase(), f.refuseNested(o)} {
		if refused != nil {
			return refused
		}
	}
	if line, found := f.table().At(o.Point()); found {
		if subvolume, _ := line.Option("subvol"); !f.leadsHere(line) || strings.TrimPrefix(subvolume, "/") != o.Volume() {
			return fmt.Errorf("%w: fstab mounts something else at %s: give another place with --volume", ErrTaken, o.Point())
		}
	}
	if f.Hidden {
		return fmt.Errorf("%w: there is something at %s of the root, which the volume would hide: move it away, or give another place with --volume", ErrTaken, o.Point())
	}
	return nil
}

// refuseNames refuses names on the file system at which there is something else than a set-up would make, or where it can't be made.
func (f *Facts) refuseNames(o Options) error {
	for _, name := range []string{o.Volume(), o.OldRoots(), o.Template()} {
		if f.TopLevel[name] == Nowhere {
			return fmt.Errorf("%w: on the root's file system there is no directory %q for %q", ErrLayout, path.Dir(name), name)
		}
	}
	if at := f.TopLevel[o.Volume()]; at != Free && at != Subvolume {
		return fmt.Errorf("%w: on the root's file system %q is no subvolume: move it away, or give another name with --subvolume", ErrTaken, o.Volume())
	}
	if f.TopLevel[o.OldRoots()] == Other {
		return fmt.Errorf("%w: on the root's file system %q is no directory: move it away", ErrTaken, o.OldRoots())
	}
	if f.TopLevel[o.Template()] != Free {
		return fmt.Errorf("%w: on the root's file system there is %q already: give another with --template", ErrTaken, o.Template())
	}
	return nil
}

// refuseNested refuses subvolumes inside the root's that hold what is to be kept, as systemd-tmpfiles makes /home and /srv where they are
// missing: a snapshot of the root has an empty directory there, and an old root has the data.
func (f *Facts) refuseNested(o Options) error {
	kept := slices.Clone(f.Data)
	for _, preset := range slices.Concat(f.Presets, f.Asked) {
		for _, e := range preset.Entries {
			kept = append(kept, e.Target)
		}
	}
	for _, e := range f.Config.Entries() {
		if e.Volume == o.Point() {
			kept = append(kept, e.Target)
		}
	}
	for _, nested := range f.Nested {
		i := slices.IndexFunc(kept, func(dir string) bool { return machine.Within(nested, dir) })
		if i >= 0 && f.onRoot(nested) {
			return fmt.Errorf("%w: the subvolume %s, in %s: a copy of the root would not have what is in it: %s, and mount it from fstab",
				ErrNested, nested, kept[i], f.moveOut(nested))
		}
	}
	return f.refuseMounted()
}

// moveOut says how a subvolume inside the root's, as the machine sees it, comes out of that.
func (f *Facts) moveOut(nested string) string {
	root := f.Mounts[0]
	return fmt.Sprintf("move it to the top level (mount -o subvolid=5 %s /mnt; mv /mnt/%s%s /mnt)", root.Source, root.Subvolume, nested)
}

// refuseUndone refuses a volume that an undoing has left: people have gone on with what is in the root.
func (f *Facts) refuseUndone(o Options) error {
	if !f.Undone {
		return nil
	}
	return fmt.Errorf("%w: the subvolume %q is left of a set-up that was undone, and would count where the root has something newer: delete it, or give another name with --subvolume; if it is to count, delete %s in it",
		ErrTaken, o.Volume(), undoneMark)
}

// refuseBoot refuses a machine whose /boot is not mounted, as one below --root that was forgotten: what boots it would be looked for, and its
// initrd be built, where no boot loader looks.
func (f *Facts) refuseBoot() error {
	line, found := f.table().At("/boot")
	if found && machine.On(f.Mounts, "/boot").Point != "/boot" {
		return fmt.Errorf("%w: fstab mounts %s at /boot, and it is not mounted: mount it first", ErrLayout, line.Spec)
	}
	return nil
}

// refuseDatabase refuses a package database that lies elsewhere than the root: it would go on telling of what is gone with each boot, and the
// template could not be changed.
func (f *Facts) refuseDatabase() error {
	on := machine.On(f.Mounts, f.Database).Point
	if f.Database == "" || on == "/" {
		return nil
	}
	return fmt.Errorf("%w: the package database %s lies on %[3]s, and a fresh root would have it without the packages: copy that into the root "+
		"(mount --bind / /mnt; cp -a %[3]s/. /mnt%[3]s), take %[3]s out of fstab, restart, and then set up, which finds what of it is to persist", ErrLayout, f.Database, on)
}

// refuseMounted refuses subvolumes inside the root's that are mounted, wherever: a fresh root does not have them, and the machine would wait
// for them in vain.
func (f *Facts) refuseMounted() error {
	root := f.Mounts[0]
	refused := func(point, subvolume string) error {
		inner, inside := strings.CutPrefix(subvolume, root.Subvolume+"/")
		if !inside || ofOneBoot(point) {
			return nil
		}
		return fmt.Errorf("%w: the subvolume /%s, which is mounted at %s, lies in that of the root, and a fresh one does not have it: unmount it, %s, and have fstab mount it from there",
			ErrLayout, inner, point, f.moveOut("/"+inner))
	}
	for _, m := range f.Mounts {
		if m.Type == "btrfs" && m.Source == root.Source {
			if err := refused(m.Point, m.Subvolume); err != nil {
				return err
			}
		}
	}
	for _, line := range f.table() {
		subvolume, _ := line.Option("subvol")
		if err := refused(line.Point, strings.Trim(subvolume, "/")); err != nil && f.leadsHere(line) {
			return err
		}
	}
	return nil
}

// checkVolume refuses a volume that is, or lies in, what is replaced or deleted, or has it in itself.
func (r Record) checkVolume() error {
	if !iofs.ValidPath(r.Volume) || r.Volume == "." {
		return fmt.Errorf("%w: the volume %q is not a path relative to the top level", btrfsops.ErrInvalidName, r.Volume)
	}
	for _, other := range []string{r.Layout.Root, r.Layout.OldRoots, r.Layout.Template} {
		if machine.Within(r.Volume, other) || machine.Within(other, r.Volume) {
			return fmt.Errorf("%w: the volume %q and %q lie in one another: give another with --subvolume", ErrLayout, r.Volume, other)
		}
	}
	return nil
}

// ofOneBoot tells which places are mounted over, or made empty, as the machine starts.
func ofOneBoot(place string) bool {
	return slices.ContainsFunc([]string{"/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp"}, func(dir string) bool { return machine.Within(place, dir) })
}
