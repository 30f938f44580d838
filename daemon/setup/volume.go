package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/persist"
)

func (w *worker) makeVolume() error {
	if _, _, err := w.top.MakeSubvolume(w.record.Volume); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(w.Root, w.record.Point), 0o755)
}

// beginFilling makes the volume anew where it has nothing but what an earlier run of the set-up has copied there: people have gone on with what
// is in the root. When it is empty then it records that it is filled in this boot.
//
// A crash before the record is written leaves an empty volume; one after that leaves a volume that the next run in this boot makes anew.
func (w *worker) beginFilling(ctx context.Context) error {
	if !w.record.NewVolume {
		return nil
	}
	volume, err := w.volume()
	if err != nil {
		return err
	}
	filled, more, err := w.holds(ctx, volume)
	if err != nil {
		return err
	}
	if filled && !more {
		err := w.top.RemoveSubvolume(w.record.Volume, volume.ID)
		more = errors.Is(err, btrfsops.ErrProtected) // it is mounted: people may have gone on with what is on it
		if err != nil && !more {
			return err
		}
	}
	w.record.FilledIn, w.record.Filling = 0, ""
	if !more {
		if err := w.makeVolume(); err != nil {
			return err
		}
		if w.record.Filling, err = btrfsops.BootID(); err != nil {
			return err
		}
	}
	return w.record.write(w.Root)
}

// volume describes the volume as it is on the disk: what is not written yet is no change yet.
func (w *worker) volume() (btrfsops.Subvolume, error) {
	if err := w.top.Sync(); err != nil {
		return btrfsops.Subvolume{}, err
	}
	return w.top.SubvolumeAt(w.record.Volume)
}

// holds tells whether there is anything on the volume, and whether there may be more than what a set-up has copied there. Where that has ended, any
// change since tells. Where it was killed in this boot nothing tells how it left the volume; but no boot has mounted it since, and what it was
// copying has a name of its own.
func (w *worker) holds(ctx context.Context, volume btrfsops.Subvolume) (filled, more bool, err error) {
	filled, err = hasEntries(filepath.Join(w.top.Top(), w.record.Volume))
	if err != nil || !filled {
		return false, false, err
	}
	boot, err := btrfsops.BootID()
	if err != nil || w.record.Filling != boot {
		return true, volume.ChangedIn != w.record.FilledIn, err
	}
	found, err := w.orphans(ctx)
	return true, len(found) > 0, err
}

// endFilling records how the volume was left, unless there is more on it than what the set-up has copied there.
func (w *worker) endFilling() error {
	if w.record.Filling == "" {
		return nil
	}
	volume, err := w.volume()
	if err != nil {
		return err
	}
	w.record.FilledIn, w.record.Filling = volume.ChangedIn, ""
	return w.record.write(w.Root)
}

// orphans lists what is on the volume that no entry put there, nor was putting there when it was killed.
func (w *worker) orphans(ctx context.Context) (found []persist.Orphan, err error) {
	err = w.inView(ctx, w.facts.RootID, func(dir string, entries []persist.Entry) error {
		var err error
		found, err = persist.Orphans(persist.Options{Sysroot: dir}, w.record.Point, entries)
		found = slices.DeleteFunc(found, func(o persist.Orphan) bool { return persist.Unfinished(o.Path) })
		return err
	})
	return found, err
}
