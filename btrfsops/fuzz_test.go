package btrfsops

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

// searchAnswer writes items as the kernel does, for seeds.
func searchAnswer(items ...item) []byte {
	var b []byte
	for _, i := range items {
		for _, v := range []uint64{i.transid, i.objectid, i.offset} {
			b = binary.NativeEndian.AppendUint64(b, v)
		}
		b = binary.NativeEndian.AppendUint32(b, i.typ)
		b = binary.NativeEndian.AppendUint32(b, uint32(len(i.data)))
		b = append(b, i.data...)
	}
	return b
}

func FuzzDecodeItems(f *testing.F) {
	ref := append(make([]byte, 16), 4, 0, 'r', 'o', 'o', 't')
	f.Add(searchAnswer(item{7, 257, 5, keyRootBackref, ref}, item{7, 257, 0, keyRootItem, make([]byte, 439)}), uint32(2))
	f.Add(searchAnswer(item{7, 256, 1, keyXattrItem, append(make([]byte, 25), 1, 0, 1, 0, 0, 'n', 'v')}), uint32(1))
	f.Add(searchAnswer(item{7, 256, 1, keyExtentData, make([]byte, 53)})[:40], uint32(9))
	f.Add(searchAnswer(item{7, 300, 0, keyInodeItem, make([]byte, 160)}, item{7, 300, 256, keyInodeRef, []byte{2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 'n'}},
		item{7, 300, 256, keyInodeExtref, append(make([]byte, 16), 1, 0, 'n')}, item{7, 300, 5, keyDirIndex, append(make([]byte, 27), 1, 0, 1, 'n')}), uint32(4))
	f.Fuzz(func(t *testing.T, buf []byte, count uint32) {
		tree := newTree()
		for range count % 1024 {
			i, rest, err := decodeItem(buf)
			if err == nil {
				err = tree.add(i)
			}
			checkTruncated(t, err)
			if err != nil {
				break
			}
			buf = rest
			decodeAll(t, i)
		}
		tree.link()
		for id := range tree.byID { // hostile parents may form a circle
			_ = tree.holds(TopLevelID, id)
		}
	})
}

func checkTruncated(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, errTruncated) {
		t.Errorf("unexpected error %v", err)
	}
}

// decodeAll reads an item as everything that it could be.
func decodeAll(t *testing.T, i item) {
	t.Helper()
	fits := func(name string) {
		if len(name) > len(i.data) {
			t.Error("a name is longer than its item")
		}
	}
	checkTruncated(t, decodeXattrs(i.data, func(name, value string) { fits(name + value) }))
	checkTruncated(t, decodeEntries(i.data, func(e entry) { fits(e.name) }))
	checkTruncated(t, decodeInodeRefs(i.data, fits))
	checkTruncated(t, decodeInodeExtrefs(i.data, func(l link) { fits(l.name) }))
	var n inode
	checkTruncated(t, n.take(i))
	s, err := decodeSegment(i)
	checkTruncated(t, err)
	fits(string(s.data))
	if data, ok := s.plain(s.start, s.end); ok {
		fits(string(data))
	}
	if _, size, err := decodeExtent(i.data); err != nil && size != 0 {
		t.Error("a size with an error")
	}
}

func FuzzParseRootName(f *testing.F) {
	for _, name := range []string{"20261123T075400Z-257", "2024-11-04_10:33:02", "2024-11-4_10:33:02", "-", "", "x-1", "20261123T075400Z-"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		at := parseRootName(name)
		if again, want := parseRootName(rootName(at, 0)), clampYear(at).Truncate(time.Second); !again.Equal(want) {
			t.Errorf("%q is read as %v, and written and read again as %v", name, at, again)
		}
	})
}

func FuzzRootNameRoundTrip(f *testing.F) {
	f.Add(int64(0), uint64(256))
	f.Add(int64(-1), uint64(1)<<63)
	f.Add(int64(1)<<50, uint64(5))
	f.Fuzz(func(t *testing.T, seconds int64, id uint64) {
		at := time.Unix(seconds, 0)
		got := parseRootName(rootName(at, SubvolumeID(id)))
		if want := clampYear(at.UTC()); !got.Equal(want.Truncate(time.Second)) {
			t.Errorf("%v becomes %v", at, got)
		}
	})
}
