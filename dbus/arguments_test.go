package dbus

import (
	"encoding/binary"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// FuzzPlainArguments holds what is read without godbus against what godbus reads.
func FuzzPlainArguments(f *testing.F) {
	add := func(plain bool, args ...any) {
		m := &godbus.Message{Type: godbus.TypeMethodCall, Body: args, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldPath: godbus.MakeVariant(ManagerPath), godbus.FieldMember: godbus.MakeVariant("X"),
			godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf(args...)),
		}}
		frame := encodeMessage(f, binary.LittleEndian, m)
		content := frame[len(frame)-int(binary.LittleEndian.Uint32(frame[4:])):]
		signature := godbus.SignatureOf(args...).String()
		if _, got := plainArguments(binary.LittleEndian, signature, content); got != plain {
			f.Errorf("%s: plain %t, want %t", signature, got, plain)
		}
		f.Add(signature, content)
	}
	none := map[string]godbus.Variant{}
	add(true, "org.impermanence1.Manager", "NextBoot")
	add(true, "")
	add(true, none, uint64(0))
	add(true, "label ☃", none, uint64(1<<60))
	add(true, true, none, uint64(7))
	add(true, RootPath(257), NoPath, none, uint64(0))
	add(false, map[string]godbus.Variant{"kind": godbus.MakeVariant("old")}, uint64(0))
	add(false, []byte("/srv"), none, uint64(0))
	add(false, []ObjectPath{RootPath(257)}, none, uint64(0))
	f.Fuzz(func(t *testing.T, signature string, content []byte) {
		if len(content) > maxCallSize || signature == "" || checkBody(binary.LittleEndian, signature, content) != nil {
			return
		}
		args, plain := plainArguments(binary.LittleEndian, signature, content)
		if !plain {
			return
		}
		m, err := decode(callFrame("/x", "a.b", "C", signature, content, 0))
		if err != nil {
			t.Fatalf("%s %q: godbus: %v", signature, content, err)
		}
		if diff := cmp.Diff(m.Body, args); diff != "" {
			t.Errorf("%s %q: %s", signature, content, diff)
		}
	})
}
