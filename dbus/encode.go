package dbus

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// encoder writes values in the wire format, little endian. It replaces the reflection
// of godbus where the daemon answers: a listing of 1,000 roots is 14,000 variants.
type encoder struct {
	b     []byte
	start int // where the message starts, from which alignment counts
}

func (e *encoder) align(n int) {
	for (len(e.b)-e.start)&(n-1) != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) byte(v byte) { e.b = append(e.b, v) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint32(1)
		return
	}
	e.uint32(0)
}

func (e *encoder) uint32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

func (e *encoder) uint64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

func (e *encoder) float64(v float64) { e.uint64(math.Float64bits(v)) }

// string writes s; what a string can't hold on the bus (bytes that are not UTF-8,
// the zero byte) becomes U+FFFD.
func (e *encoder) string(s string) {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\ufffd")
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	e.uint32(uint32(len(s)))
	e.b = append(e.b, s...)
	e.byte(0)
}

func (e *encoder) path(p ObjectPath) {
	e.uint32(uint32(len(p)))
	e.b = append(e.b, p...)
	e.byte(0)
}

func (e *encoder) signature(s string) {
	e.byte(byte(len(s)))
	e.b = append(e.b, s...)
	e.byte(0)
}

// array writes what elements writes, with its length before it. align is the
// alignment of an element.
func (e *encoder) array(align int, elements func()) {
	e.uint32(0)
	length := len(e.b) - 4
	e.align(align)
	start := len(e.b)
	elements()
	binary.LittleEndian.PutUint32(e.b[length:], uint32(len(e.b)-start))
}

// list is array for many elements of about one length. Room for all is made when the first is there: growing little by
// little would leave four times as much behind for the collector.
func (e *encoder) list(align, count int, element func(i int)) {
	e.array(align, func() {
		start := len(e.b)
		for i := range count {
			element(i)
			if i == 0 {
				e.b = slices.Grow(e.b, min(count*(len(e.b)-start+align), keptBuffer))
			}
		}
	})
}

func (e *encoder) strings(list []string) {
	e.array(4, func() {
		for _, s := range list {
			e.string(s)
		}
	})
}

func (e *encoder) paths(list []ObjectPath) {
	e.array(4, func() {
		for _, p := range list {
			e.path(p)
		}
	})
}

func (e *encoder) uint64s(list []uint64) {
	e.array(8, func() {
		for _, v := range list {
			e.uint64(v)
		}
	})
}

// bytestring writes a path as the disk has it: an array of bytes that ends with a
// zero byte, which is what GLib takes for a string of bytes.
func (e *encoder) bytestring(s string) {
	e.uint32(uint32(len(s) + 1))
	e.b = append(e.b, s...)
	e.byte(0)
}

func (e *encoder) usec(t time.Time) { e.uint64(toUSec(t)) }

// toUSec is a time as microseconds since 1970, 0 for none.
func toUSec(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(0, t.UnixMicro()))
}

func (e *encoder) errorInfo(i ErrorInfo) {
	e.align(8)
	e.string(i.Name)
	e.string(i.Message)
}

// details writes a{sv}, sorted by key so that equal values have equal bytes.
func (e *encoder) details(d map[string]any) {
	e.array(8, func() {
		for _, key := range slices.Sorted(maps.Keys(d)) {
			e.align(8)
			e.string(key)
			e.variant(d[key])
		}
	})
}

// variant writes a value of one of the types that [Details] names.
func (e *encoder) variant(v any) {
	switch v := v.(type) {
	case string:
		e.signature("s")
		e.string(v)
	case bool:
		e.signature("b")
		e.bool(v)
	case int:
		e.signature("x")
		e.uint64(uint64(v))
	case int32:
		e.signature("i")
		e.uint32(uint32(v))
	case int64:
		e.signature("x")
		e.uint64(uint64(v))
	case uint32:
		e.signature("u")
		e.uint32(v)
	case uint64:
		e.signature("t")
		e.uint64(v)
	case float64:
		e.signature("d")
		e.float64(v)
	default:
		e.variantOfList(v)
	}
}

func (e *encoder) variantOfList(v any) {
	switch v := v.(type) {
	case ObjectPath:
		e.signature("o")
		e.path(v)
	case []string:
		e.signature("as")
		e.strings(v)
	case []uint64:
		e.signature("at")
		e.uint64s(v)
	case []ObjectPath:
		e.signature("ao")
		e.paths(v)
	default:
		e.signature("s")
		e.string(fmt.Sprint(v))
	}
}
