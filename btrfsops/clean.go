package btrfsops

import (
	"cmp"
	"context"
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
func (fs *Filesystem) WaitCleaned(ctx context.Context, ids []SubvolumeID) error {
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
		if !slices.ContainsFunc(ids, left) {
			return fs.Sync()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
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
