package setup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/template"
	"github.com/impermanence/impermanence/persist"
)

func (w *worker) makeVolume() error {
	if _, _, err := w.top.MakeSubvolume(w.record.Volume); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(w.Root, w.record.Point), 0o755)
}

// fill copies what is to persist to the volume, and lists what it has. A volume with nothing but what an earlier run of the set-up has copied there is
// filled anew, as people have gone on with what is in the root: apart, in a subvolume that takes its place with all that there is to copy.
//
// A crash before that leaves the volume as it was. One just before it, on a volume with copies, leaves a record of other copies than those: they stay, as
// if somebody had changed them.
func (w *worker) fill(ctx context.Context, staged *btrfsops.NewTemplate) ([]persist.Entry, error) {
	former, err := w.volume(w.record.Volume)
	if err != nil {
		return nil, err
	}
	apart, err := w.beginAnew(staged, former)
	if err != nil {
		return nil, err
	}
	if apart == "" {
		w.record.FilledIn = 0
		if err := w.record.write(w.Root); err != nil {
			return nil, err
		}
		return w.seed(ctx, staged.ID(), w.record.Volume)
	}
	seeded, err := w.seed(ctx, staged.ID(), apart)
	if err != nil {
		return nil, err
	}
	filled, err := w.volume(apart)
	if err != nil {
		return nil, err
	}
	w.record.FilledIn = filled.ChangedIn
	if err := w.record.write(w.Root); err != nil {
		return nil, err
	}
	return seeded, staged.PlaceVolume(w.record.Volume, former.ID)
}

// beginAnew makes the subvolume that is to take the place of the volume, and says where; "" for a volume that stays.
func (w *worker) beginAnew(staged *btrfsops.NewTemplate, volume btrfsops.Subvolume) (string, error) {
	if !w.record.NewVolume {
		return "", nil
	}
	if more, err := w.holdsMore(volume); err != nil || more {
		return "", err
	}
	apart, err := staged.StageVolume(w.record.Volume, volume.ID)
	if errors.Is(err, btrfsops.ErrProtected) { // it is mounted: people may have gone on with what is on it
		return "", nil
	}
	return apart, err
}

// seed copies what is to persist to a subvolume that stands in for the volume, and lists what that has.
func (w *worker) seed(ctx context.Context, root btrfsops.SubvolumeID, volume string) (seeded []persist.Entry, err error) {
	err = w.inView(ctx, root, volume, func(dir string, opts persist.Options, entries []persist.Entry) error {
		report, err := persist.SeedVolume(ctx, opts, entries)
		seeded = template.Kept(dir, entries)
		for _, result := range report.Results {
			if result.State != persist.Conflict {
				continue
			}
			if _, err := os.Lstat(filepath.Join(dir, result.Source)); err != nil {
				w.tell("%s is not kept: %v", result.Target, result.Err)
			} else {
				w.tell("%s is kept on the volume already, and differs from what is in the root: %v", result.Target, result.Err)
			}
		}
		return notConflicts(report, err)
	})
	return seeded, err
}

// notConflicts leaves out of an error that entries conflict: the volume's side counts, as at every boot.
func notConflicts(report persist.Report, err error) error {
	if err == nil {
		return nil
	}
	var failed []error
	for _, result := range report.Results {
		if result.Err != nil && result.State != persist.Conflict {
			failed = append(failed, fmt.Errorf("%s: %w", result.Target, result.Err))
		}
	}
	if len(failed) == 0 && len(report.Results) == 0 {
		return err
	}
	return errors.Join(failed...)
}

// volume describes a volume as it is on the disk: what is not written yet is no change yet.
func (w *worker) volume(path string) (btrfsops.Subvolume, error) {
	if err := w.top.Sync(); err != nil {
		return btrfsops.Subvolume{}, err
	}
	return w.top.SubvolumeAt(path)
}

// holdsMore tells whether there may be more on the volume than what the set-up has copied there: any change since tells.
func (w *worker) holdsMore(volume btrfsops.Subvolume) (bool, error) {
	some, err := hasEntries(filepath.Join(w.top.Top(), w.record.Volume))
	return some && volume.ChangedIn != w.record.FilledIn, err
}
