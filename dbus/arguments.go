package dbus

import (
	"encoding/binary"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// plainArguments reads the arguments that most calls have: texts, paths, numbers, bools and empty options, as godbus
// decodes them; it says when there are others. godbus reads the whole message anew, by reflection, which costs more than
// all else that is done for a short call. The body must have passed [checkBody].
func plainArguments(order binary.ByteOrder, signature string, content []byte) (args []any, plain bool) {
	r := wireReader{b: content, order: order}
	for signature != "" && r.err == nil {
		if rest, found := strings.CutPrefix(signature, "a{sv}"); found {
			if r.uint32() > 0 {
				return nil, false
			}
			r.align(8)
			args, signature = append(args, map[string]godbus.Variant{}), rest
			continue
		}
		switch signature[0] {
		case 's':
			args = append(args, r.text(r.uint32()))
		case 'o':
			args = append(args, ObjectPath(r.text(r.uint32())))
		case 't':
			args = append(args, r.uint64())
		case 'b':
			args = append(args, r.uint32() == 1)
		default:
			return nil, false
		}
		signature = signature[1:]
	}
	return args, r.err == nil
}
