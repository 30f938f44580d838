package btrfsops

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// stagedVolume is what a volume under way is called, in the new template.
const stagedVolume = ".impermanence-volume"

// StageVolume makes an empty subvolume in the new template, to be filled and to take the place of the volume at p, which has that id; it gives
// where it stands now, relative to the top level. It is dropped with the template, unless PlaceVolume has moved it. Errors: ErrStateChanged, ErrProtected
// for a volume that is mounted.
func (n *NewTemplate) StageVolume(p string, id SubvolumeID) (string, error) {
	unlock, err := n.fs.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := n.fs.isStill(p, id); err != nil {
		return "", err
	}
	if _, err := n.fs.unprotected(id); err != nil {
		return "", err
	}
	if err := n.fs.kernel.createSubvolume(n.dir, stagedVolume); err != nil {
		return "", err
	}
	f, err := openSubvolume(n.dir, stagedVolume)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return path.Join(n.Path(), stagedVolume), n.fs.kernel.changeMode(f, 0o755)
}

// PlaceVolume puts what StageVolume made in the place of the volume at p, and deletes that. The order, and what a power cut after each step leaves
// behind:
//
//  1. Its files are flushed: the volume as it was; the next change of the template drops the new one.
//  2. The two are exchanged: the new volume; the next change of the template drops the other one, which is in the new template now.
//  3. The other one is deleted.
//  4. One commit makes it durable.
//
// Errors: ErrStateChanged, ErrProtected.
func (n *NewTemplate) PlaceVolume(p string, id SubvolumeID) error {
	unlock, err := n.fs.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.placeVolume(p, id); err != nil {
		return fmt.Errorf("place volume %q: %w", p, err)
	}
	return nil
}

func (n *NewTemplate) placeVolume(p string, id SubvolumeID) error {
	if err := n.fs.Sync(); err != nil {
		return err
	}
	if err := n.fs.isStill(p, id); err != nil {
		return err
	}
	if _, err := n.fs.unprotected(id); err != nil {
		return err
	}
	parent, name, err := n.fs.openParent(p)
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	if err := n.fs.kernel.rename(n.dir, stagedVolume, parent, name, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	if err := n.fs.destroyTree(id); err != nil {
		return err
	}
	return n.fs.kernel.commit(parent)
}
