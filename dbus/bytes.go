package dbus

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bytes is a file name, a path or the like in a line of JSON: a string where it is
// UTF-8, else an object {"base64": "…"}, so that none is changed on its way.
type Bytes string

// inBase64 is what stands for bytes that are no text.
type inBase64 struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(b)) {
		return json.Marshal(string(b))
	}
	return json.Marshal(inBase64{[]byte(b)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Bytes) UnmarshalJSON(data []byte) error {
	if last := len(data) - 1; last > 0 && data[0] == '"' && isPlain(data[1:last]) {
		*b = Bytes(data[1:last])
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		*b = Bytes(text)
		return nil
	}
	var object inBase64
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("neither text nor bytes: %w", err)
	}
	*b = Bytes(object.Base64)
	return nil
}

// String is for people: U+FFFD stands for what is no text.
func (b Bytes) String() string { return strings.ToValidUTF8(string(b), "\ufffd") }
