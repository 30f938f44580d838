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

// inode reads an inode with its links, attributes and first extents. One that is nowhere in the tree counts as not found.
func (v *view) inode(number uint64) (n inode, found bool, err error) {
	if v == nil {
		return n, false, nil
	}
	c := newLookup(v.top, v.key(number, keyInodeItem, keyInodeItem), inodeItems)
	defer c.close()
	for {
		i, more, err := c.next()
		if err == nil && more && i.objectid == number && !n.enough(i) {
			err = n.take(i)
		} else if err == nil {
			n.whole = true
			return n, n.nlink > 0, nil
		}
		if err != nil {
			return n, false, fmt.Errorf("read inode %d of subvolume %d: %w", number, v.id, err)
		}
	}
}

// madeIn returns the transaction that made an inode; false when there is none.
func (v *view) madeIn(number uint64) (transid uint64, found bool, err error) {
	c := newLookup(v.top, v.key(number, keyInodeItem, keyInodeItem), 1)
	defer c.close()
	i, more, err := c.next()
	if err != nil || !more || i.objectid != number || i.typ != keyInodeItem {
		return 0, false, err
	}
	var n inode
	err = n.take(i)
	return n.generation, n.nlink > 0, err
}

// inodeItems is how many items are asked for at once to read an inode: as many as most have, and the next one's first.
const inodeItems = 6

// entry looks a name up in a directory; one that is not there has classNone.
func (v *view) entry(dir uint64, name string) (e entry, err error) {
	if v == nil {
		return e, nil
	}
	key := v.key(dir, keyDirItem, keyDirItem)
	key.MinOffset = nameHash([]byte(name))
	c := newLookup(v.top, key, 1)
	defer c.close()
	i, more, err := c.next()
	if err == nil && more && i.objectid == dir && i.typ == keyDirItem && i.offset == key.MinOffset {
		err = decodeEntries(i.data, func(found entry) { // names whose hashes collide share an item
			if found.name == name {
				e = found
			}
		})
	}
	if err != nil {
		return e, fmt.Errorf("look %q up in directory %d of subvolume %d: %w", name, dir, v.id, err)
	}
	return e, nil
}

// entries stands before the first name of a directory with an index from from to to, in the order in which names were
// added. Indexes begin at 2.
func (v *view) entries(dir, from, to uint64) *entryCursor {
	key := v.key(dir, keyDirIndex, keyDirIndex)
	key.MinOffset, key.MaxOffset = from, to
	c := &entryCursor{dir: dir, to: to}
	if few := to - from; few < 16 {
		c.cursor = newLookup(v.top, key, uint32(few)+2)
	} else {
		c.cursor = newCursor(v.top, key)
	}
	return c
}

// lastIndex is above the index of any name.
const lastIndex = ^uint64(0)

// entryCursor walks the names of a directory.
type entryCursor struct {
	*cursor
	dir, to uint64
	at      item // that next went to
}

// next goes to the next name; false after the last one.
func (c *entryCursor) next() (more bool, err error) {
	c.at, more, err = c.cursor.next()
	if err != nil || !more {
		return false, err
	}
	return c.at.objectid == c.dir && c.at.typ == keyDirIndex && c.at.offset <= c.to, nil
}

// entry is the one that the cursor is at.
func (c *entryCursor) entry() (e entry, err error) {
	return e, decodeEntries(c.at.data, func(found entry) { e = found })
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

// above says whether there is anything above an inode number.
func (v *view) above(number uint64) (bool, error) {
	c := newLookup(v.top, searchKey{TreeID: uint64(v.id), MinObjectid: number + 1}, 1)
	defer c.close()
	_, some, err := c.next()
	return some, err
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
