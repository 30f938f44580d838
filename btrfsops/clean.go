package btrfsops

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// The cleaner frees the space of deleted subvolumes in the background, after a commit, and tells nobody when it is done.
// So there is polling, more and more slowly.
const (
	cleanPollFirst = time.Millisecond
	cleanPollLast  = 200 * time.Millisecond
)

// WaitCleaned waits until the space of deleted subvolumes is free. BTRFS_IOC_SUBVOL_SYNC_WAIT is not used: for one id it
// takes until the next periodic commit (about 30 s), and it says "clean" too early for a large root. The tree of tree
// roots says it right: a deleted subvolume has an orphan item there until it is wholly gone.
//
// The cleaner does not begin with a subvolume as long as a program has something open in it, which may be for ever. When nothing
// has been cleaned for as long as patience, it is ErrUncleaned.
func (fs *Filesystem) WaitCleaned(ctx context.Context, ids []SubvolumeID, patience time.Duration) error {
	var last uint64
	changed := time.Now()
	for pause := cleanPollFirst; ; pause = min(2*pause, cleanPollLast) {
		// Each time: the sync wakes the cleaner through the transaction thread, and a wake-up can be lost (see commit). When
		// it has freed something, the sync makes that usable.
		if err := fs.Sync(); err != nil {
			return err
		}
		pending, err := fs.Uncleaned()
		if err != nil {
			return err
		}
		left := func(id SubvolumeID) bool {
			_, found := slices.BinarySearch(pending, id)
			return found
		}
		first := slices.IndexFunc(ids, left)
		if first < 0 {
			return fs.Sync()
		}
		progress, err := fs.cleaning(pending)
		switch {
		case err != nil:
			return err
		case progress != last:
			last, changed = progress, time.Now()
		case time.Since(changed) > patience:
			return fmt.Errorf("%w: a program has something open in subvolume %d, most likely", ErrUncleaned, ids[first])
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// cleaning differs when the cleaner has got on with deleted subvolumes: of a large one its root item says how far it is. Who still
// writes to one changes other parts of that.
func (fs *Filesystem) cleaning(pending []SubvolumeID) (uint64, error) {
	print := fnv.New64a()
	for _, id := range pending {
		fmt.Fprintln(print, id)
		key := searchKey{
			TreeID: rootTreeID, MinObjectid: uint64(id), MaxObjectid: uint64(id), MinType: keyRootItem, MaxType: keyRootItem,
		}
		err := search(fs.top, key, func(i item) error {
			if len(i.data) < rootItemOldSize {
				return errTruncated
			}
			_, err := print.Write(i.data[rootItemDropProgress:rootItemOldSize])
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return print.Sum64(), nil
}

// Uncleaned returns the deleted subvolumes whose space is not free yet, in ascending order.
func (fs *Filesystem) Uncleaned() ([]SubvolumeID, error) {
	var ids []SubvolumeID
	key := searchKey{
		TreeID: rootTreeID, MinObjectid: orphanObjectID, MaxObjectid: orphanObjectID,
		MinType: keyOrphanItem, MaxType: keyOrphanItem,
	}
	err := search(fs.top, key, func(i item) error {
		ids = append(ids, SubvolumeID(i.offset))
		return nil
	})
	return ids, err
}

// ExclusiveBytes estimates what deleting a subvolume would free: the data that was written in it since it was made. It
// needs no quotas; data that was shared with other subvolumes later is counted all the same, nested ones are not.
//
// A large root takes long: ctx ends the search.
func (fs *Filesystem) ExclusiveBytes(ctx context.Context, id SubvolumeID) (uint64, error) {
	subvolume, _, err := fs.one(id, keyRootItem)
	if err != nil {
		return 0, err
	}
	var total uint64
	// min_transid leaves out, leaf by leaf, what was not touched since. The making of a snapshot flushes its source into
	// the same transaction and then commits it: what is the snapshot's own is newer.
	since := subvolume.CreatedIn
	if subvolume.ParentUUID != "" {
		since++
	}
	key := searchKey{
		TreeID: uint64(id), MinObjectid: firstFreeID, MaxObjectid: lastFreeID,
		MinType: keyExtentData, MaxType: keyExtentData, MinTransid: since,
	}
	err = search(fs.top, key, func(i item) error {
		transid, size, err := decodeExtent(i.data)
		if transid >= since {
			total += size
		}
		return cmp.Or(err, ctx.Err())
	})
	return total, err
}
