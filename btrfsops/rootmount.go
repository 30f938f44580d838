package btrfsops

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// RootMount is what is known of how this boot will mount the root. The zero value knows nothing.
type RootMount struct {
	Device  string // its path; "": not known
	Options string // mount options, as in fstab(5): "rw,subvol=/root"
	From    string // where they stand, for a person: "rootflags= on the kernel command line"; "": not known
}

// checkMount refuses a rollover whose fresh root this boot would not mount: it would make an old root of what nobody uses,
// and leave the root that runs as it is, at every boot.
func (r *rollover) checkMount() error {
	if r.Mount.From == "" {
		return nil
	}
	if err := r.checkDevice(); err != nil {
		return err
	}
	name, id := mountedAs(r.Mount.Options)
	byName := "subvol=" + r.Layout.Root
	switch {
	case id != "": // with both, the kernel wants them to agree, and after the rollover they would not
		return fmt.Errorf("%w: %s has subvolid=%s, an id that no fresh root ever gets; put %s in its place", ErrOtherRoot, r.Mount.From, id, byName)
	case name == "" && r.defaultFollows:
		return nil
	case name == "":
		return fmt.Errorf("%w: %s has no subvol=, and the default subvolume is %d, not the root %q; add %s there", ErrOtherRoot, r.Mount.From, r.fallback, r.Layout.Root, byName)
	case path.Clean("/"+name) != path.Clean("/"+r.Layout.Root):
		return fmt.Errorf("%w: %s has subvol=%s, the configuration has %q; change one of them", ErrOtherRoot, r.Mount.From, name, r.Layout.Root)
	}
	return nil
}

// checkDevice refuses a device that is no part of the file system. One that can't be read may be.
func (r *rollover) checkDevice() error {
	uuid, err := filesystemOn(r.Mount.Device)
	if (err == nil && uuid != r.uuid) || errors.Is(err, ErrNotBtrfs) {
		return fmt.Errorf("%w: it mounts %s, which is not of the file system with the root; make that the device of the configuration, or leave it out there", ErrOtherRoot, r.Mount.Device)
	}
	return nil
}

// mountedAs returns what subvol= and subvolid= of mount options say, each "" when it is not there. As for the kernel, the
// last counts.
func mountedAs(options string) (name, id string) {
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(option), "=")
		switch key {
		case "subvol":
			name = strings.Trim(value, `"`)
		case "subvolid":
			id = value
		}
	}
	return name, id
}

// A mount without subvol= gives the default subvolume, which btrfs knows by its id. Where that is the root, the default
// has to follow each exchange.
//
// It follows after the exchange, not before: so all that a power cut or an error can leave in between boots the former
// root, at root.next, and the next rollover finishes it before that is mounted.

// findDefault looks up the default subvolume and whether it is the root, or what stands at root.next.
func (r *rollover) findDefault() error {
	var err error
	if r.fallback, err = r.DefaultSubvolume(); err != nil || r.fallback == TopLevelID {
		return err
	}
	staged, found, err := r.lookup(r.Layout.Root + stagedSuffix)
	if err != nil {
		return err
	}
	r.defaultFollows = r.former != nil && r.fallback == r.former.ID || found && r.fallback == staged
	return nil
}

// follow makes the root the default subvolume where it was.
func (r *rollover) follow(root SubvolumeID) error {
	if !r.defaultFollows || r.fallback == root {
		return nil
	}
	if err := r.kernel.setDefault(r.top, root); err != nil {
		return err
	}
	r.fallback = root
	return nil
}
