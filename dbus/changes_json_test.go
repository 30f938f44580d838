package dbus

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	fastjson "github.com/segmentio/encoding/json"
	"pgregory.net/rapid"
)

// A difference is written and read as encoding/json would do it.
func TestAppendedChange(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z./" <>&\\]*`))
	name := rapid.Map(rapid.OneOf(text, rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })),
		func(s string) Bytes { return Bytes(s) })
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "unknown") {
			return time.Time{}
		}
		second := rapid.Int64Range(-62135596799, 253402300799).Draw(t, "second")
		return time.Unix(second, rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond")).UTC()
	})
	rapid.Check(t, func(t *rapid.T) {
		c := FileChange{
			Change: text.Draw(t, "change"), Path: name.Draw(t, "path"), From: name.Draw(t, "from"), Type: text.Draw(t, "type"),
			Size: rapid.Uint64().Draw(t, "size"), Link: rapid.Bool().Draw(t, "link"), Mode: rapid.Uint32().Draw(t, "mode"),
			UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"), Modified: moment.Draw(t, "modified"),
			Changed: moment.Draw(t, "changed"), Aspects: rapid.SliceOf(text).Draw(t, "aspects"),
			Subvolume: rapid.Uint64().Draw(t, "subvolume"), Rule: text.Draw(t, "rule"),
		}
		if rapid.Bool().Draw(t, "before") {
			c.Before = &FileBefore{
				Type: text.Draw(t, "type before"), Size: rapid.Uint64().Draw(t, "size before"), Mode: rapid.Uint32().Draw(t, "mode before"),
				UID: rapid.Uint32().Draw(t, "uid before"), GID: rapid.Uint32().Draw(t, "gid before"), Modified: moment.Draw(t, "modified before"),
			}
		}
		slow, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		line := append(c.appendJSON([]byte("before")), "after"...)
		fast := line[len("before") : len(line)-len("after")]
		if diff := cmp.Diff(decoded(t, slow), decoded(t, fast)); diff != "" {
			t.Errorf("encoding/json writes %s\nappended is %s\n%s", slow, fast, diff)
		}
		var slowly, fastly FileChange
		if err := errors.Join(json.Unmarshal(fast, &slowly), fastjson.Unmarshal(fast, &fastly)); err != nil {
			t.Fatalf("%v: %s", err, fast)
		}
		if diff := cmp.Diff(slowly, fastly); diff != "" {
			t.Errorf("%s: what encoding/json reads differs from what the client reads:\n%s", fast, diff)
		}
	})
}

// decoded is what JSON says, with numbers as they are written.
func decoded(t *rapid.T, data []byte) (v any) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}
