package setup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	if err := w.top.Sync(); err != nil { // what is not written yet is no change yet
		return err
	}
	volume, err := w.top.SubvolumeAt(w.record.Volume)
	if err != nil {
		return err
	}
	filled, err := hasEntries(filepath.Join(w.top.Top(), w.record.Volume))
	if err != nil {
		return err
	}
	more, err := w.holdsMore(ctx, volume)
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
		if w.record.Filling, err = bootID(); err != nil {
			return err
		}
	}
	return w.record.write(w.Root)
}

// holdsMore tells whether there may be more on the volume than what a set-up has copied there. Where that has ended, any change since tells. Where
// it was killed in this boot nothing tells how it left the volume; but no boot has mounted it since, and what it was copying has a name of its own.
func (w *worker) holdsMore(ctx context.Context, volume btrfsops.Subvolume) (bool, error) {
	filled, err := hasEntries(filepath.Join(w.top.Top(), w.record.Volume))
	if err != nil || !filled {
		return false, err
	}
	boot, err := bootID()
	if err != nil || w.record.Filling != boot {
		return volume.ChangedIn != w.record.FilledIn, err
	}
	found, err := w.orphans(ctx)
	return len(found) > 0, err
}

// bootID is the id of this boot.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// halfCopied ends the names that persist gives what it copies, until that is whole.
const halfCopied = ".impermanence-new"

// endFilling records how the volume was left, unless there is more on it than what the set-up has copied there.
func (w *worker) endFilling() error {
	if w.record.Filling == "" {
		return nil
	}
	if err := w.top.Sync(); err != nil {
		return err
	}
	volume, err := w.top.SubvolumeAt(w.record.Volume)
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
		found = slices.DeleteFunc(found, func(o persist.Orphan) bool { return strings.HasSuffix(o.Path, halfCopied) })
		return err
	})
	return found, err
}
