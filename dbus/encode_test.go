package dbus

import (
	"strings"
	"testing"
)

// TestALongListMakesRoomOnce: the room for a thousand elements is made with the first; one that is longer than the first, or
// more than there is room for, is written all the same.
func TestALongListMakesRoomOnce(t *testing.T) {
	const count = 1000
	var e encoder
	made, room := 0, 0
	e.list(4, count, func(i int) {
		e.string("as long as any other")
		if cap(e.b) != room {
			made, room = made+1, cap(e.b)
		}
	})
	if made != 2 { // for the first, and for all
		t.Errorf("room was made %d times", made)
	}

	long := strings.Repeat("longer", keptBuffer/count)
	text := func(i int) string { return long[:min(i, len(long))] }
	var listed, one encoder
	listed.list(4, count, func(i int) { listed.string(text(i)) })
	one.array(4, func() {
		for i := range count {
			one.string(text(i))
		}
	})
	if string(listed.b) != string(one.b) {
		t.Error("elements of different lengths are written otherwise than one by one")
	}
	var none encoder
	none.list(8, 0, func(int) { t.Error("an element of none") })
	if len(none.b) != 8 {
		t.Errorf("none is written as %d bytes", len(none.b))
	}
}
