package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"

	godbus "github.com/godbus/dbus/v5"
)

// The fixed part of a message and the codes of its header fields: D-Bus
// Specification, "Message Format".
const (
	fixedSize       = 16
	protocolVersion = 1
	maxMessageSize  = 1 << 27 // by the protocol
	maxFieldsSize   = 64 << 10

	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldUnixFDs     = 9
)

// errMalformed is about bytes that are not a message.
var errMalformed = errors.New("malformed message")

// header is what stands before the body of a message.
type header struct {
	order       binary.ByteOrder
	kind        godbus.Type
	flags       godbus.Flags
	serial      uint32
	bodySize    uint32
	fieldsSize  uint32 // without the padding that follows
	replySerial uint32
	unixFDs     uint32
	path        ObjectPath
	iface       string
	member      string
	errorName   string
	destination string
	sender      string
	signature   string
}

// size is the length of the whole message.
func (h *header) size() uint64 {
	return fixedSize + h.paddedFieldsSize() + uint64(h.bodySize)
}

func (h *header) paddedFieldsSize() uint64 { return (uint64(h.fieldsSize) + 7) &^ 7 }

// bodyOf is the body in the bytes of the whole message.
func (h *header) bodyOf(frame []byte) []byte { return frame[len(frame)-int(h.bodySize):] }

// wantsReply tells whether an answer would be read.
func (h *header) wantsReply() bool {
	return h.kind == godbus.TypeMethodCall && h.flags&godbus.FlagNoReplyExpected == 0
}

// parseFixed reads the fixed part of a message.
func parseFixed(b []byte) (header, error) {
	var h header
	switch b[0] {
	case 'l':
		h.order = binary.LittleEndian
	case 'B':
		h.order = binary.BigEndian
	default:
		return h, fmt.Errorf("byte order %q: %w", b[0], errMalformed)
	}
	if b[3] != protocolVersion {
		return h, fmt.Errorf("protocol version %d: %w", b[3], errMalformed)
	}
	h.kind, h.flags = godbus.Type(b[1]), godbus.Flags(b[2])
	h.bodySize = h.order.Uint32(b[4:])
	h.serial = h.order.Uint32(b[8:])
	h.fieldsSize = h.order.Uint32(b[12:])
	if h.size() > maxMessageSize {
		return h, fmt.Errorf("%d bytes: %w", h.size(), errMalformed)
	}
	return h, nil
}

// parseFields reads the header fields, which are the array of (yv) after the fixed
// part. Fields that it doesn't know are skipped, as the specification asks.
func (h *header) parseFields(b []byte) error {
	r := wireReader{b: b, order: h.order}
	for len(r.b) > r.pos && r.err == nil {
		r.align(8)
		code := r.byte()
		if r.byte() != 1 {
			return errMalformed // no field has a container type
		}
		kind := r.byte()
		r.byte() // the end of the signature
		h.setField(code, kind, &r)
	}
	return r.err
}

func (h *header) setField(code, kind byte, r *wireReader) {
	number, text := r.value(kind)
	switch code {
	case fieldPath:
		h.path = ObjectPath(text)
	case fieldInterface:
		h.iface = text
	case fieldMember:
		h.member = text
	case fieldErrorName:
		h.errorName = text
	case fieldReplySerial:
		h.replySerial = number
	case fieldDestination:
		h.destination = text
	case fieldSender:
		h.sender = text
	case fieldSignature:
		h.signature = text
	case fieldUnixFDs:
		h.unixFDs = number
	}
}

// wireReader reads basic values, and remembers that it ran out of bytes.
type wireReader struct {
	b     []byte
	pos   int
	order binary.ByteOrder
	err   error
}

// take returns the next n bytes, or nil when there aren't as many.
func (r *wireReader) take(n int) []byte {
	if r.err != nil || n > len(r.b)-r.pos {
		r.err = errMalformed
		return nil
	}
	b := r.b[r.pos : r.pos+n]
	r.pos += n
	return b
}

func (r *wireReader) align(n int) {
	if pad := -r.pos & (n - 1); pad > 0 {
		r.take(pad)
	}
}

func (r *wireReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *wireReader) uint32() uint32 {
	r.align(4)
	if b := r.take(4); b != nil {
		return r.order.Uint32(b)
	}
	return 0
}

func (r *wireReader) uint64() uint64 {
	r.align(8)
	if b := r.take(8); b != nil {
		return r.order.Uint64(b)
	}
	return 0
}

// text reads n bytes and the zero byte behind them.
func (r *wireReader) text(n uint32) string {
	if uint64(n) >= uint64(len(r.b)) {
		r.err = errMalformed
		return ""
	}
	if b := r.take(int(n) + 1); b != nil {
		return string(b[:n])
	}
	return ""
}

// value reads a value of one of the types that header fields have.
func (r *wireReader) value(kind byte) (number uint32, text string) {
	switch kind {
	case 's', 'o':
		return 0, r.text(r.uint32())
	case 'g':
		return 0, r.text(uint32(r.byte()))
	case 'u':
		return r.uint32(), ""
	default:
		r.err = errMalformed
		return 0, ""
	}
}
