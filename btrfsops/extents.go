package btrfsops

import (
	"bytes"
	"encoding/binary"
	"math"
)

// segment is a stretch of a file, from start up to end, both in bytes.
type segment struct {
	start, end uint64
	inline     bool
	compressed byte   // 0: not
	data       []byte // inline: as it lies on disk, valid until the next segment is asked for
	disk       uint64 // where the extent lies on disk; 0: there is none, the stretch reads as zeros
	offset     uint64 // of start, in the extent as it is uncompressed
}

// decodeSegment reads struct btrfs_file_extent_item: generation 8, size uncompressed 8, compression 1, encryption 1, other
// encoding 2, type 1; then the data, or: where it lies on disk 8, its size there 8, offset in it 8, length 8.
func decodeSegment(i item) (segment, error) {
	const fixed, full = 21, 53
	if len(i.data) < fixed {
		return segment{}, errTruncated
	}
	le := binary.LittleEndian
	s := segment{start: i.offset, compressed: i.data[16]}
	if i.data[20] == extentInline {
		s.inline, s.data, s.end = true, i.data[fixed:], s.start+le.Uint64(i.data[8:])
		return s, nil
	}
	if len(i.data) < full {
		return segment{}, errTruncated
	}
	s.end = s.start + le.Uint64(i.data[45:])
	if i.data[20] == extentRegular {
		s.disk, s.offset = le.Uint64(i.data[21:]), le.Uint64(i.data[37:])
	}
	return s, nil
}

// equal says whether two segments are the same item.
func (s segment) equal(o segment) bool {
	return s.start == o.start && s.end == o.end && s.inline == o.inline && s.compressed == o.compressed &&
		s.disk == o.disk && s.offset == o.offset && bytes.Equal(s.data, o.data)
}

// readsLike says whether two segments surely have the same data from pos on, as far as both reach. One that is not surely
// the same may be so all the same: the data was written twice, or moved.
func (s segment) readsLike(o segment, pos uint64) bool {
	switch {
	case s.inline != o.inline:
		return false
	case s.inline:
		return s.start == o.start && s.compressed == o.compressed && s.end == o.end && string(s.data) == string(o.data)
	default:
		return s.disk == o.disk && (s.disk == 0 || s.offset+pos-s.start == o.offset+pos-o.start)
	}
}

// plain returns what an inline segment holds from pos up to end; false when that has to be read.
func (s segment) plain(pos, end uint64) ([]byte, bool) {
	if !s.inline || s.compressed != 0 || end-s.start > uint64(len(s.data)) {
		return nil, false
	}
	return s.data[pos-s.start : end-s.start], true
}

// segments walks a file from its beginning, with what no extent covers as a segment of zeros.
type segments struct {
	known   []segment
	extents *cursor // what comes after those known; nil: nothing
	current segment
	ahead   *segment
}

func (v *view) segments(n inode) *segments {
	if !n.more {
		return &segments{known: n.extents}
	}
	return &segments{extents: newCursor(v.top, v.key(n.number, keyExtentData, keyExtentData))}
}

func (s *segments) close() {
	if s.extents != nil {
		s.extents.close()
	}
}

// next returns the next extent; false after the last one.
func (s *segments) next() (segment, bool, error) {
	if len(s.known) > 0 {
		next := s.known[0]
		s.known = s.known[1:]
		return next, true, nil
	}
	if s.extents == nil {
		return segment{}, false, nil
	}
	i, more, err := s.extents.next()
	if err != nil || !more {
		return segment{}, false, err
	}
	next, err := decodeSegment(i)
	return next, true, err
}

// at returns the segment that holds pos, which never goes back.
func (s *segments) at(pos uint64) (segment, error) {
	for s.current.end <= pos {
		if err := s.look(); err != nil {
			return segment{}, err
		}
		if s.ahead.start > s.current.end {
			s.current = segment{start: s.current.end, end: s.ahead.start}
			continue
		}
		s.current, s.ahead = *s.ahead, nil
	}
	return s.current, nil
}

// look sets ahead to the next extent that reaches beyond the current segment, or to one at the end of all files.
func (s *segments) look() error {
	for s.ahead == nil {
		next, more, err := s.next()
		if err != nil {
			return err
		}
		if !more {
			next = segment{start: math.MaxUint64, end: math.MaxUint64}
		}
		if next.end > s.current.end {
			s.ahead = &next
		}
	}
	return nil
}
