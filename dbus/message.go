package dbus

import (
	"encoding/binary"

	godbus "github.com/godbus/dbus/v5"
)

// maxReplySize is the longest message that the daemon sends: a bus drops a
// connection that sends more than it allows, 32 MiB by default.
const maxReplySize = 16 << 20

// body is the arguments of a message that the daemon sends: their types, and what
// writes them. The zero value is no arguments.
type body struct {
	signature string
	put       func(*encoder)
}

// message is what the daemon sends: a reply, an error or a signal.
type message struct {
	kind        godbus.Type
	path        ObjectPath
	iface       string
	member      string
	errorName   string
	destination string
	sender      string // a bus sets it
	replySerial uint32
	body        body
}

// replyTo is the reply to a call.
func replyTo(h *header, b body) message {
	return message{kind: godbus.TypeMethodReply, destination: h.sender, replySerial: h.serial, body: b}
}

// errorTo is the error reply to a call; it always has a text.
func errorTo(h *header, err error) message {
	info := InfoOf(err)
	return message{
		kind: godbus.TypeError, errorName: info.Name, destination: h.sender, replySerial: h.serial,
		body: body{"s", func(e *encoder) { e.string(info.Message) }},
	}
}

// encode appends the message to what e has. Its body starts at a multiple of eight,
// so that it is written in place.
func (m *message) encode(e *encoder, serial uint32) {
	e.start = len(e.b)
	// Nobody answers what the daemon sends, and nobody is started to read it.
	flags := godbus.FlagNoReplyExpected | godbus.FlagNoAutoStart
	e.b = append(e.b, 'l', byte(m.kind), byte(flags), protocolVersion)
	e.uint32(0) // the size of the body, when it is known
	e.uint32(serial)
	e.array(8, func() { m.fields(e) })
	e.align(8)
	content := len(e.b)
	if m.body.put != nil {
		m.body.put(e)
	}
	binary.LittleEndian.PutUint32(e.b[e.start+4:], uint32(len(e.b)-content))
}

func (m *message) fields(e *encoder) {
	text := func(code byte, kind, value string) {
		if value == "" {
			return
		}
		e.align(8)
		e.byte(code)
		e.signature(kind)
		if kind == "g" {
			e.signature(value)
			return
		}
		e.string(value)
	}
	text(fieldPath, "o", string(m.path))
	text(fieldInterface, "s", m.iface)
	text(fieldMember, "s", m.member)
	text(fieldErrorName, "s", m.errorName)
	text(fieldDestination, "s", m.destination)
	text(fieldSender, "s", m.sender)
	text(fieldSignature, "g", m.body.signature)
	if m.replySerial != 0 {
		e.align(8)
		e.byte(fieldReplySerial)
		e.signature("u")
		e.uint32(m.replySerial)
	}
}
