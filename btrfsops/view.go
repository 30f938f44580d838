package btrfsops

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// view reads one subvolume by searches of its tree. A nil view is the empty subvolume: a directory with nothing in it.
type view struct {
	top *os.File // of the file system
	dir *os.File // the subvolume's directory, for reading data
	id  SubvolumeID
}

// key bounds a search to types of one inode.
func (v *view) key(number uint64, from, to uint32) searchKey {
	return searchKey{TreeID: uint64(v.id), MinObjectid: number, MaxObjectid: number, MinType: from, MaxType: to}
}

// inode reads an inode with its links and attributes. One that is nowhere in the tree counts as not found.
func (v *view) inode(number uint64) (n inode, found bool, err error) {
	if v == nil {
		return n, false, nil
	}
	err = search(v.top, v.key(number, keyInodeItem, keyXattrItem), func(i item) error { return n.take(i) })
	if err != nil {
		return n, false, fmt.Errorf("read inode %d of subvolume %d: %w", number, v.id, err)
	}
	n.whole = true
	return n, n.nlink > 0, nil
}

// entry looks a name up in a directory; one that is not there has classNone.
func (v *view) entry(dir uint64, name string) (e entry, err error) {
	if v == nil {
		return e, nil
	}
	key := v.key(dir, keyDirItem, keyDirItem)
	key.MinOffset = nameHash(name)
	key.MaxOffset = max(key.MinOffset, 1)
	key.NrItems = 1 // the kernel would go through the rest of the leaf
	err = search(v.top, key, func(i item) error {
		return decodeEntries(i.data, func(found entry) { // names whose hashes collide share an item
			if found.name == name {
				e = found
			}
		})
	})
	if err != nil {
		return e, fmt.Errorf("look %q up in directory %d of subvolume %d: %w", name, dir, v.id, err)
	}
	return e, nil
}

// entries stands before the first name of a directory with an index of at least from, in the order in which names were
// added.
func (v *view) entries(dir, from uint64) *entryCursor {
	key := v.key(dir, keyDirIndex, keyDirIndex)
	key.MinOffset = from
	return &entryCursor{cursor: newCursor(v.top, key)}
}

// entryCursor walks the names of a directory.
type entryCursor struct {
	*cursor
	index uint64 // of the entry that next returned last
}

func (c *entryCursor) next() (e entry, more bool, err error) {
	i, more, err := c.cursor.next()
	if err != nil || !more {
		return e, false, err
	}
	c.index = i.offset
	return e, true, decodeEntries(i.data, func(found entry) { e = found })
}

// highest returns the highest inode number in use, by asking what there is above a number, halving as it goes.
func (v *view) highest() (uint64, error) {
	low, high := uint64(firstFreeID), uint64(firstFreeID) // there is something at low, nothing above high
	for step := uint64(1 << 10); ; step <<= 1 {
		some, err := v.above(high)
		if err != nil {
			return 0, err
		}
		if !some {
			break
		}
		low, high = high, high+step
	}
	for low < high {
		middle := low + (high-low)/2
		some, err := v.above(middle)
		if err != nil {
			return 0, err
		}
		if some {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// dataSize adds up what the data of all files takes on disk, in bytes; 0 for a subvolume that is not there, since what a
// snapshot shows of a nested one may be gone.
func (v *view) dataSize() (total uint64, err error) {
	key := searchKey{
		TreeID: uint64(v.id), MinObjectid: firstFreeID, MaxObjectid: lastFreeID, MinType: keyExtentData, MaxType: keyExtentData,
	}
	err = search(v.top, key, func(i item) error {
		_, size, err := decodeExtent(i.data)
		total += size
		return err
	})
	if errors.Is(err, iofs.ErrNotExist) {
		return 0, nil
	}
	return total, err
}

var errEnough = errors.New("enough")

// above says whether there is anything above an inode number.
func (v *view) above(number uint64) (bool, error) {
	key := searchKey{TreeID: uint64(v.id), MinObjectid: number + 1, MaxObjectid: lastFreeID, MaxType: keyExtentData, NrItems: 1}
	err := search(v.top, key, func(item) error { return errEnough })
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

// pathPiece is how much of a path one system call is given; PATH_MAX bounds it at 4095 bytes.
const pathPiece = 4000

// open opens a regular file for reading, without touching its access time, and never through a symlink or a mount point.
func (v *view) open(p string, number uint64) (*os.File, error) {
	dir := v.dir
	for len(p) > pathPiece {
		cut := strings.LastIndexByte(p[:pathPiece], '/')
		next, err := openAs(dir, p[:cut], unix.O_PATH|unix.O_DIRECTORY)
		if dir != v.dir {
			_ = dir.Close()
		}
		if err != nil {
			return nil, err
		}
		dir, p = next, p[cut+1:]
	}
	f, err := openAs(dir, p, unix.O_RDONLY|unix.O_NOATIME|unix.O_NONBLOCK)
	if dir != v.dir {
		_ = dir.Close()
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrStateChanged, err)
	}
	if err != nil {
		return nil, err
	}
	return f, sameInode(f, number)
}

// sameInode closes f and says ErrStateChanged unless it has an inode number.
func sameInode(f *os.File, number uint64) error {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	if err == nil && st.Ino == number {
		return nil
	}
	_ = f.Close()
	if err != nil {
		return wrap("stat", f.Name(), err)
	}
	return fmt.Errorf("%w: %q is another file", ErrStateChanged, f.Name())
}
