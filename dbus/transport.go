package dbus

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	godbus "github.com/godbus/dbus/v5"
)

// maxCallSize is the longest method call that is read: DeleteRoots with 10,000
// paths is half of it. A longer one is skipped without being held in memory, as is a
// longer signal, but by who hears the daemon, which may say more.
const maxCallSize = 1 << 20

// Buffers of messages: how long they usually are, and how long they may stay.
const (
	usualBuffer = 64 << 10
	keptBuffer  = 1 << 20
)

// busSender is the sender of what the bus itself says.
const busSender = "org.freedesktop.DBus"

// transport stands between the socket of a bus and godbus.
//
// To godbus it is a plain stream, so the passing of file descriptors is never
// negotiated: with it, one message that holds "ah" ends the process (godbus v5.2.4
// panics in its reader), and each descriptor that a caller attaches stays open.
//
// It reads whole messages, and takes method calls out of the stream: they go to
// calls, which can bound what is decoded and what runs, where godbus would decode
// everything and start a goroutine for each. Signals that are too long, or that checkBody
// refuses, are dropped: anybody may send them, and they would end the connection or fill
// the memory.
type transport struct {
	conn io.ReadWriteCloser
	in   *bufio.Reader
	// calls gets each method call; frame is nil when the call was too long, and may
	// be used only until calls returns. Without it calls are dropped.
	calls  func(h *header, frame []byte)
	sender string // of what is sent, where there is no bus to say so

	longestSignal uint64 // that is read

	greeting      *greeting // of a client
	authenticated bool
	buffer        []byte // of the message that was read last
	unread        []byte // what godbus has not read of it

	long    sync.Mutex // held by who sends something long, before writing
	writing sync.Mutex
	out     encoder
	serial  atomic.Uint32
}

func newTransport(conn io.ReadWriteCloser, calls func(*header, []byte)) *transport {
	return &transport{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), calls: calls, longestSignal: maxCallSize}
}

// Read hands godbus the answers of the authentication, and then the messages that are
// for it.
func (t *transport) Read(p []byte) (int, error) {
	if t.authenticated {
		if err := t.greeting.hear(t.in); err != nil {
			return 0, err
		}
	}
	for t.authenticated && len(t.unread) == 0 {
		frame, err := t.next()
		if err != nil {
			return 0, err
		}
		t.unread = frame
	}
	n := copy(p, t.unread)
	t.unread = t.unread[n:]
	return n, nil
}

// Write sends what godbus sends: a line of the authentication or a whole message.
func (t *transport) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if !t.authenticated {
		t.unread, t.authenticated = t.greeting.answer(p) // godbus starts to read messages after its last line
		return len(p), nil
	}
	if _, err := t.conn.Write(t.greeting.before(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the socket.
func (t *transport) Close() error { return t.conn.Close() }

// GetSerial and RetireSerial make t the serial generator of godbus, so that what
// both of us send is numbered in one row.
func (t *transport) GetSerial() uint32 {
	for {
		if serial := t.serial.Add(1); serial != 0 {
			return serial
		}
	}
}

// RetireSerial implements godbus.SerialGenerator.
func (t *transport) RetireSerial(uint32) {}

// send encodes and writes messages in their order. One is encoded at a time, however
// many callers want a long one: that bounds the memory that answers take. One that is
// too long is left out, and is [ErrLimitsExceeded].
func (t *transport) send(messages ...message) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	defer func() {
		if cap(t.out.b) > keptBuffer {
			t.out.b = nil
		}
	}()
	t.out.b = t.out.b[:0]
	var tooLong error
	for i := range messages {
		messages[i].sender = cmp.Or(messages[i].sender, t.sender)
		messages[i].encode(&t.out, t.GetSerial())
		if size := len(t.out.b) - t.out.start; size > maxReplySize {
			t.out.b = t.out.b[:t.out.start]
			tooLong = fmt.Errorf("send %d bytes: %w", size, ErrLimitsExceeded)
		}
		if len(t.out.b) < usualBuffer && i < len(messages)-1 {
			continue
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return tooLong
}

// sendLong is send for what may be long: who does so waits for each other first, and what is short only for one of them.
func (t *transport) sendLong(messages ...message) error {
	t.long.Lock()
	defer t.long.Unlock()
	return t.send(messages...)
}

// flush writes what was encoded. It needs writing.
func (t *transport) flush() error {
	_, err := t.conn.Write(t.out.b)
	t.out.b = t.out.b[:0]
	return err
}

// next reads one message. It returns nil when godbus is not to see it, and an error
// when the stream can't be read any further.
func (t *transport) next() ([]byte, error) {
	fixed, err := t.in.Peek(fixedSize)
	if err != nil {
		return nil, err
	}
	h, err := parseFixed(fixed)
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	tooLong := h.kind == godbus.TypeMethodCall && h.size() > maxCallSize || h.kind == godbus.TypeSignal && h.size() > t.longestSignal
	if h.fieldsSize > maxFieldsSize {
		return nil, t.skip(h.size())
	}
	held := h.size()
	if tooLong {
		held = fixedSize + h.paddedFieldsSize()
	}
	frame, err := t.hold(held)
	if err != nil {
		return nil, err
	}
	fieldsErr := h.parseFields(frame[fixedSize : fixedSize+h.fieldsSize])
	if tooLong {
		frame = nil
		if err := t.skip(uint64(h.bodySize)); err != nil {
			return nil, err
		}
	}
	if fieldsErr != nil || frame == nil && h.kind == godbus.TypeSignal {
		return nil, nil
	}
	return t.sort(&h, frame), nil
}

// sort returns the message when it is for godbus.
func (t *transport) sort(h *header, frame []byte) []byte {
	switch h.kind {
	case godbus.TypeMethodCall:
		if t.calls != nil {
			t.calls(h, frame)
		}
		return nil
	case godbus.TypeSignal:
		if h.sender == busSender {
			return frame
		}
		if checkBody(h.order, h.signature, h.bodyOf(frame)) != nil {
			return nil
		}
		return frame
	default: // a reply, which only comes to who has asked
		return frame
	}
}

// hold reads n bytes into the buffer, which stays for the next message unless it
// was a long one.
func (t *transport) hold(n uint64) ([]byte, error) {
	if uint64(cap(t.buffer)) < n || cap(t.buffer) > usualBuffer {
		t.buffer = make([]byte, max(n, 1<<10))
	}
	frame := t.buffer[:n]
	_, err := io.ReadFull(t.in, frame)
	return frame, err
}

func (t *transport) skip(n uint64) error {
	_, err := t.in.Discard(int(n))
	return err
}

// errPanic is about a message that godbus panicked over.
var errPanic = errors.New("decoder panicked")

// decode decodes a message with godbus, which panics over some that checkBody refuses.
func decode(frame []byte) (m *godbus.Message, err error) {
	defer func() {
		if v := recover(); v != nil {
			m, err = nil, fmt.Errorf("decode message: %w: %v", errPanic, v)
		}
	}()
	return godbus.DecodeMessage(bytes.NewReader(frame))
}
