package btrfsops

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// searchBuffers keeps the large arguments of searches: 256 KiB each is too much to make anew for each of 10,000 roots.
var searchBuffers = sync.Pool{New: func() any { return new(searchArgsV2) }}

// cursor walks the items of a tree in key order. It has to be closed.
type cursor struct {
	dir         *os.File
	key, bounds searchKey
	size        uint64 // of one answer, in bytes
	args        *searchArgsV2
	rest        []byte // of the answer, not decoded yet
	left        uint32 // items in rest
	ended       bool
}

// newCursor stands before the first item between the minima and maxima of key, in the tree with the id in key; dir is any
// directory of the file system. Zero maxima of offset and transid mean the largest, a zero NrItems as many items in an
// answer as have room. BTRFS_IOC_TREE_SEARCH_V2 takes a slice of the 136-bit key space, so items whose type or offset is
// outside the bounds can come along, and are left out here.
func newCursor(dir *os.File, key searchKey) *cursor {
	if key.MaxOffset == 0 {
		key.MaxOffset = ^uint64(0)
	}
	if key.MaxTransid == 0 {
		key.MaxTransid = ^uint64(0)
	}
	return &cursor{dir: dir, key: key, bounds: key, size: firstBufferSize, args: searchBuffers.Get().(*searchArgsV2)}
}

// newLookup is newCursor for who needs no more than some items, of any key from the minima on. The kernel stops when it has
// found that many; where it were to stop at a maximum, it would go through the rest of the leaf.
func newLookup(dir *os.File, key searchKey, items uint32) *cursor {
	key.MaxObjectid, key.MaxType, key.MaxOffset, key.NrItems = lastFreeID, keyLast, 0, items
	c := newCursor(dir, key)
	c.size, c.bounds.MinType, c.bounds.MinOffset = lookupBufferSize, 0, 0
	return c
}

func (c *cursor) close() { searchBuffers.Put(c.args) }

// next returns the next item within bounds; false after the last one.
func (c *cursor) next() (item, bool, error) {
	for {
		if c.left == 0 {
			if c.ended {
				return item{}, false, nil
			}
			if err := c.fill(); err != nil {
				return item{}, false, err
			}
			continue
		}
		i, rest, err := decodeItem(c.rest)
		if err != nil {
			return item{}, false, err
		}
		c.pass(i, rest)
		if c.bounds.contains(i) {
			return i, true, nil
		}
	}
}

// pass goes on behind an item of the answer.
func (c *cursor) pass(i item, rest []byte) {
	c.rest, c.left = rest, c.left-1
	if c.left > 0 {
		return
	}
	// The kernel stops where the range ends or the next item has no room: with room for any item left, it was the end.
	c.ended = c.key.NrItems == 0 && len(rest) > maxItemSize
	c.ended = !advance(&c.key, i) || c.ended
}

// skip passes over all items before those of an inode with a type or a higher one. What is not in the answer yet is not
// asked for.
func (c *cursor) skip(number uint64, typ uint32) error {
	for c.left > 0 {
		i, rest, err := decodeItem(c.rest)
		if err != nil || i.objectid > number || i.objectid == number && i.typ >= typ {
			return err
		}
		c.pass(i, rest)
	}
	if key := &c.key; key.MinObjectid < number || key.MinObjectid == number && key.MinType < typ {
		key.MinObjectid, key.MinType, key.MinOffset = number, typ, 0
		c.ended = c.ended || number > key.MaxObjectid
	}
	return nil
}

// fill asks the kernel for the next answer.
func (c *cursor) fill() error {
	for {
		c.args.Key, c.args.BufSize = c.key, c.size
		if c.args.Key.NrItems == 0 {
			c.args.Key.NrItems = ^uint32(0)
		}
		err := ioctl(int(c.dir.Fd()), iocTreeSearchV2, unsafe.Pointer(c.args))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EOVERFLOW) && c.size < searchBufferSize { // the first item alone has no room
			c.size = searchBufferSize
			continue
		}
		if err != nil {
			return wrap("search tree", fmt.Sprint(c.key.TreeID), err)
		}
		c.rest, c.left = c.args.Buf[:c.size], c.args.Key.NrItems
		c.ended = c.left == 0
		if c.size == firstBufferSize {
			c.size = searchBufferSize
		}
		return nil
	}
}

// advance sets the minimum of key to what comes after last; false when that is past the maximum.
func advance(key *searchKey, last item) bool {
	key.MinObjectid, key.MinType, key.MinOffset = last.objectid, last.typ, last.offset
	switch {
	case key.MinOffset < ^uint64(0):
		key.MinOffset++
	case key.MinType < keyLast:
		key.MinType, key.MinOffset = key.MinType+1, 0
	case key.MinObjectid < ^uint64(0):
		key.MinObjectid, key.MinType, key.MinOffset = key.MinObjectid+1, 0, 0
	default:
		return false
	}
	return key.MinObjectid <= key.MaxObjectid
}

// decodeItem reads one item of an answer, and returns what comes after it.
func decodeItem(buf []byte) (i item, rest []byte, err error) {
	if len(buf) < itemHeaderSize {
		return i, buf, errTruncated
	}
	size := binary.NativeEndian.Uint32(buf[28:])
	if uint64(len(buf)-itemHeaderSize) < uint64(size) {
		return i, buf, errTruncated
	}
	i = item{
		transid:  binary.NativeEndian.Uint64(buf),
		objectid: binary.NativeEndian.Uint64(buf[8:]),
		offset:   binary.NativeEndian.Uint64(buf[16:]),
		typ:      binary.NativeEndian.Uint32(buf[24:]),
		data:     buf[itemHeaderSize : itemHeaderSize+size],
	}
	return i, buf[itemHeaderSize+size:], nil
}
