package dbus

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

// TestTypesDontFillTheMemory calls with variants that each have a type that was never
// seen, for each of which godbus would make one that stays.
func TestTypesDontFillTheMemory(t *testing.T) {
	s, _ := offline(t)
	random := rand.New(rand.NewPCG(1, 2))
	var e encoder
	e.array(8, func() {
		for i := range 15_000 {
			kind := strings.Builder{}
			braces := 0
			for range 12 {
				part := []string{"a", "a{s", "a{t", "a{y", "a{o"}[random.IntN(5)]
				braces += len(part) / 3
				kind.WriteString(part)
			}
			e.align(8)
			e.string(strconv.Itoa(i))
			e.signature(kind.String() + "s" + strings.Repeat("}", braces))
			e.uint32(0)
			e.align(8)
		}
	})
	e.uint64(0)
	call := callFrame(string(ManagerPath), managerInterface, "ListRoots", "a{sv}t", e.b, 0)
	if len(call) > maxCallSize {
		t.Fatalf("the call has %d bytes", len(call))
	}
	before := heap()
	out := answerAll(s, call)
	if after := heap(); after > before+16<<20 {
		t.Errorf("the call left %d MiB behind", (after-before)>>20)
	}
	if m, err := decode(out); err != nil || m.Headers[godbus.FieldErrorName].Value() != "org.freedesktop.DBus.Error.InvalidArgs" {
		t.Errorf("answer %v, %v", m, err)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestFirstType(t *testing.T) {
	for signature, want := range map[string]string{
		"s": "s", "su": "s", "a{sv}t": "a{sv}", "(s(au)v)u": "(s(au)v)", "aas": "aas", "a{oa{sv}}s": "a{oa{sv}}", "a(ay)": "a(ay)",
	} {
		one, rest, err := firstType(signature, maxArrayDepth)
		if err != nil || one != want || one+rest != signature {
			t.Errorf("%s: %q, %q, %v", signature, one, rest, err)
		}
	}
	for _, signature := range []string{"", "a", "aaas", "a{vs}", "a{s}", "a{sss}", "()", "(", "(s", "{sv}", "z", "a{sv", "a{sa{sa{sv}}}", "s)"} {
		one, rest, err := firstType(signature, maxArrayDepth)
		if err == nil && one+rest == signature && rest == "" {
			t.Errorf("%q was taken", signature)
		}
	}
}

func TestCheckBody(t *testing.T) {
	for _, test := range []struct{ signature, content string }{
		{"y", ""},
		{"y", "ab"},
		{"b", "\x02\x00\x00\x00"},
		{"s", "\x01\x00\x00\x00a"},
		{"s", "\x01\x00\x00\x00\xff\x00"},
		{"s", "\x03\x00\x00\x00a\x00b\x00"},
		{"s", "\xff\xff\xff\xffa\x00"},
		{"as", "\x03\x00\x00\x00\x01\x00\x00\x00a\x00"},
		{"v", "\x02ss\x00"},
		{"v", "\x00\x00"},
		{"v", "\x03aaa\x00"},
		{"g", "\x01z\x00"},
		{"v", strings.Repeat("\x01v\x00", 80) + "\x01y\x00\x01"},
	} {
		if err := checkBody(binary.LittleEndian, test.signature, []byte(test.content)); !errors.Is(err, errMalformed) {
			t.Errorf("%s %q: %v", test.signature, test.content, err)
		}
	}
}

// FuzzCheckBody holds that godbus decodes whatever was found good.
func FuzzCheckBody(f *testing.F) {
	f.Add("a{sv}t", []byte("\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00a\x00\x01y\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add("(sb)ayd", []byte("\x01\x00\x00\x00a\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00ab\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add("vgoh", []byte("\x02as\x00\x00\x00\x00\x00\x01s\x00\x00\x01\x00\x00\x00/\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, signature string, content []byte) {
		if checkBody(binary.LittleEndian, signature, content) != nil {
			return
		}
		frame := callFrame("/x", "a.b", "C", signature, content, 0)
		if m, err := decode(frame); err != nil {
			t.Errorf("%s %q: %v", signature, content, err)
		} else if got := godbus.SignatureOf(m.Body...).String(); !strings.ContainsAny(signature, "(") && got != signature {
			t.Errorf("%s became %s", signature, got)
		}
	})
}
