package dbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

// stream is a socket that has been written to already.
type stream struct {
	io.Reader
	written bytes.Buffer
}

func (s *stream) Write(p []byte) (int, error) { return s.written.Write(p) }
func (s *stream) Close() error                { return nil }

// nowhere is where what is written is lost.
type nowhere struct{ io.ReadWriteCloser }

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// authenticated is a transport that reads messages from data.
func authenticated(data io.Reader, calls func(*header, []byte)) *transport {
	t := newTransport(&stream{Reader: data}, calls)
	t.authenticated = true
	return t
}

// frameOf is a message as the wire has it.
func frameOf(t testing.TB, order binary.ByteOrder, kind godbus.Type, sender string, args ...any) []byte {
	t.Helper()
	m := &godbus.Message{Type: kind, Body: args, Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldSender: godbus.MakeVariant(sender), godbus.FieldPath: godbus.MakeVariant(ManagerPath),
		godbus.FieldInterface: godbus.MakeVariant(managerInterface), godbus.FieldMember: godbus.MakeVariant("CreateSnapshot"),
		godbus.FieldReplySerial: godbus.MakeVariant(uint32(3)),
	}}
	if len(args) > 0 {
		m.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(args...))
	}
	return encodeMessage(t, order, m)
}

func encodeMessage(t testing.TB, order binary.ByteOrder, m *godbus.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	order.PutUint32(b.Bytes()[8:], 77)
	return b.Bytes()
}

func TestTransportSortsMessages(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		t.Run(order.String(), func(t *testing.T) {
			reply := frameOf(t, order, godbus.TypeMethodReply, ":1.5", "answer")
			signal := frameOf(t, order, godbus.TypeSignal, ":1.6", uint64(1))
			call := frameOf(t, order, godbus.TypeMethodCall, ":1.7", "label")
			broken := bytes.Clone(signal)
			broken[len(broken)-9]++ // its signature's end: "t" and no zero byte
			copy(broken[bytes.Index(broken, []byte("\x01t\x00")):], "\x01\xff\x00")
			var calls []header
			tr := authenticated(bytes.NewReader(bytes.Join([][]byte{call, reply, broken, call, signal}, nil)), func(h *header, frame []byte) {
				calls = append(calls, *h)
				if !bytes.Equal(frame, call) {
					t.Errorf("call %x, want %x", frame, call)
				}
			})
			got, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			if want := append(bytes.Clone(reply), signal...); !bytes.Equal(got, want) {
				t.Errorf("for godbus: %x, want %x", got, want)
			}
			if len(calls) != 2 {
				t.Fatalf("%d calls", len(calls))
			}
			h := calls[1]
			if h.sender != ":1.7" || h.path != ManagerPath || h.iface != managerInterface || h.member != "CreateSnapshot" ||
				h.signature != "s" || h.serial != 77 || h.replySerial != 3 || !h.wantsReply() {
				t.Errorf("header %+v", h)
			}
		})
	}
}

func TestTransportSkipsWhatIsTooLong(t *testing.T) {
	long := frameOf(t, binary.LittleEndian, godbus.TypeMethodCall, ":1.1", strings.Repeat("x", 8<<20))
	longSignal := frameOf(t, binary.LittleEndian, godbus.TypeSignal, ":1.1", strings.Repeat("x", 8<<20))
	short := frameOf(t, binary.LittleEndian, godbus.TypeMethodCall, ":1.2", "x")
	shortSignal := frameOf(t, binary.LittleEndian, godbus.TypeSignal, ":1.2", "x")
	var senders []string
	tr := authenticated(bytes.NewReader(slices.Concat(long, longSignal, short, shortSignal)), func(h *header, frame []byte) {
		senders = append(senders, h.sender)
		if (frame == nil) != (h.sender == ":1.1") {
			t.Errorf("call of %s: %d bytes", h.sender, len(frame))
		}
	})
	if got, err := io.ReadAll(tr); err != nil || !bytes.Equal(got, shortSignal) {
		t.Fatalf("for godbus: %d bytes, want %d; %v", len(got), len(shortSignal), err)
	}
	if strings.Join(senders, " ") != ":1.1 :1.2" {
		t.Errorf("calls of %v", senders)
	}
	if cap(tr.buffer) > 64<<10 {
		t.Errorf("%d bytes are held", cap(tr.buffer))
	}
}

func TestTransportEndsOnGarbage(t *testing.T) {
	for name, data := range map[string]string{
		"order":    "x\x01\x00\x01" + strings.Repeat("\x00", 12),
		"version":  "l\x01\x00\x02" + strings.Repeat("\x00", 12),
		"too long": "l\x01\x00\x01" + strings.Repeat("\xff", 12),
	} {
		if _, err := io.ReadAll(authenticated(strings.NewReader(data), nil)); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzTransport reads a stream of anything.
func FuzzTransport(f *testing.F) {
	f.Add(frameOf(f, binary.LittleEndian, godbus.TypeMethodCall, ":1.1", "x", map[string]godbus.Variant{"a": godbus.MakeVariant(1)}, uint64(0)))
	f.Add(frameOf(f, binary.BigEndian, godbus.TypeSignal, ":1.1", []string{"x"}))
	f.Add(frameOf(f, binary.LittleEndian, godbus.TypeMethodReply, ":1.1", []godbus.UnixFDIndex{1}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		tr := authenticated(bytes.NewReader(data), func(_ *header, frame []byte) {
			if frame != nil {
				_, _ = decode(frame) // must not panic; what it says is not the matter
			}
		})
		_, _ = io.Copy(io.Discard, tr) // ends with any error, or none
	})
}

func TestAddresses(t *testing.T) {
	for list, want := range map[string]string{
		"unix:path=/run/bus":                            "/run/bus",
		"unix:abstract=/tmp/x,guid=00":                  "@/tmp/x",
		"unix:guid=00,path=/a%20b%2c":                   "/a b,",
		"tcp:host=h;unix:path=/1;nonsense;unix:path=/2": "/1 /2",
	} {
		got, err := parseAddresses(list)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"", ";", "unix:", "unix:tmpdir=/tmp", "unix:path=%", "autolaunch:"} {
		if got, err := parseAddresses(list); err == nil {
			t.Errorf("%s: %v", list, got)
		}
	}
}

func TestPaths(t *testing.T) {
	for target, want := range map[string]ObjectPath{
		"/":               "/org/impermanence1/entry/_2f",
		"/etc/machine-id": "/org/impermanence1/entry/_2fetc_2fmachine_2did",
		"9":               "/org/impermanence1/entry/_39",
		"a9":              "/org/impermanence1/entry/a9",
		"":                "/org/impermanence1/entry/_",
	} {
		if got := EntryPath(target); got != want {
			t.Errorf("path of %q is %s, want %s", target, got, want)
		}
	}
	for _, p := range []ObjectPath{"/", "/org/impermanence1/root/", "/org/impermanence1/root/0", "/org/impermanence1/root/01", "/org/impermanence1/root/+1", "/org/impermanence1/job/1", "/org/impermanence1/root/18446744073709551616"} {
		if id, err := ParseRootPath(p); !errors.Is(err, ErrNoSuchRoot) {
			t.Errorf("%s is root %d, %v", p, id, err)
		}
	}
	if id, err := ParseJobPath(JobPath(1 << 63)); err != nil || id != 1<<63 {
		t.Errorf("job %d, %v", id, err)
	}
}

func FuzzEntryPath(f *testing.F) {
	f.Add("/var/log")
	f.Add("/\xff_2f")
	f.Fuzz(func(t *testing.T, target string) {
		p := EntryPath(target)
		if !p.IsValid() {
			t.Errorf("%q has the path %q", target, p)
		}
		if back, err := ParseEntryPath(p); err != nil || back != target {
			t.Errorf("%q comes back as %q, %v", target, back, err)
		}
		if back, err := ParseEntryPath(ObjectPath(entryPrefix + target)); err == nil && EntryPath(back) != ObjectPath(entryPrefix+target) {
			t.Errorf("%q has two paths", back)
		}
	})
}

func TestTransportSendsInOrder(t *testing.T) {
	out := &stream{Reader: strings.NewReader("")}
	tr := newTransport(out, nil)
	text := func(n int) message {
		return signal("/x", "a.b", "C", "s", func(e *encoder) { e.string(strings.Repeat("x", n)) })
	}
	if err := tr.send(text(1), text(100_000), text(3)); err != nil {
		t.Fatal(err)
	}
	if err := tr.send(text(4), text(maxReplySize), text(5)); !errors.Is(err, ErrLimitsExceeded) {
		t.Errorf("a message that is too long: %v", err)
	}
	if cap(tr.out.b) > keptBuffer {
		t.Errorf("%d bytes are kept", cap(tr.out.b))
	}
	if err := tr.send(text(6)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 100_000, 3, 4, 5, 6} {
		m, err := godbus.DecodeMessage(&out.written)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Body[0].(string)); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
}

func TestTransportSendsWhatIsShortBetweenWhatIsLong(t *testing.T) {
	tr := newTransport(nowhere{}, nil)
	const count, few = 100, 30
	text := strings.Repeat("x", 1<<20)
	var long, before int // counted while something is sent
	var all sync.WaitGroup
	send := func(send func(...message) error, put func(*encoder)) {
		all.Go(func() {
			if err := send(signal("/x", "a.b", "C", "s", put)); err != nil {
				t.Error(err)
			}
		})
	}
	for range count {
		send(tr.sendLong, func(e *encoder) {
			if long++; long == count/10 {
				send(tr.send, func(e *encoder) {
					before = long - count/10
					e.string("")
				})
			}
			e.string(text)
		})
	}
	all.Wait()
	if before > few {
		t.Errorf("%d were sent before", before)
	}
}
