package dbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fixed is a backend that has one of everything, and does nothing.
type fixed struct{}

func (fixed) Manager() Manager { return Manager{NextBoot: "fresh"} }

func (fixed) Roots(context.Context, RootFilter) ([]Root, error) {
	return []Root{{ID: 257, Name: "r"}}, nil
}
func (fixed) Entries() []Entry { return []Entry{{Target: "/e"}} }
func (fixed) Jobs() []Job {
	return []Job{{ID: 1, State: JobDone, Result: ResultDone}, {ID: 2, State: JobRunning, Cancelable: true}}
}

func (fixed) CreateSnapshot(context.Context, Caller, string) (uint64, error) { return 1, nil }

func (fixed) DeleteRoots(context.Context, Caller, []uint64) (uint64, error) { return 1, nil }

func (fixed) PlanPrune(context.Context, PruneOptions) ([]PlanItem, error) {
	return []PlanItem{{Root: 257}}, nil
}

func (fixed) Prune(context.Context, Caller, PruneOptions) (uint64, error)        { return 1, nil }
func (fixed) SetPinned(context.Context, uint64, bool) error                      { return nil }
func (fixed) SetLabel(context.Context, uint64, string) error                     { return nil }
func (fixed) SetNextBoot(context.Context, string) error                          { return nil }
func (fixed) ApplyPersistence(context.Context, Caller, []string) (uint64, error) { return 1, nil }
func (fixed) CheckEntryChange(context.Context, EntryChange) error                { return nil }
func (fixed) ChangeEntry(context.Context, Caller, EntryChange) (uint64, error)   { return 1, nil }
func (fixed) Orphans(context.Context, string) ([]Orphan, error)                  { return []Orphan{{Path: "/x"}}, nil }
func (fixed) CheckRestore(context.Context, uint64, RestoreOptions) error         { return nil }
func (fixed) Restore(context.Context, Caller, uint64, RestoreOptions, *Stream) (uint64, error) {
	return 1, nil
}

func (fixed) ListLosses(context.Context, Caller, ChangeFilter, *Stream) (uint64, error) {
	return 1, nil
}

func (fixed) CompareRoots(context.Context, Caller, uint64, uint64, ChangeFilter, *Stream) (uint64, error) {
	return 1, nil
}

func (fixed) ListVersions(context.Context, Caller, string, *Stream) (uint64, error) { return 1, nil }

func (fixed) BrowseRoot(context.Context, uint64) (string, error) { return "/x", nil }
func (fixed) EndBrowse(context.Context, uint64) error            { return nil }
func (fixed) CancelJob(context.Context, uint64) error            { return nil }
func (fixed) WaitJob(context.Context, uint64) (Job, error)       { return Job{Result: ResultDone}, nil }
func (fixed) Reload(context.Context) error                       { return nil }
func (fixed) Rescan(context.Context) error                       { return nil }
func (fixed) LogLevel() string                                   { return "info" }
func (fixed) SetLogLevel(string) error                           { return nil }
func (fixed) LogTarget() string                                  { return "journal" }

func (fixed) SetLogTarget(string) error { return ErrInvalidArgs }

func (fixed) SyslogIdentifier() string { return "impermanenced" }

func (fixed) Authorize(context.Context, Caller, string, map[string]string, bool) error { return nil }

// offline is a server that is connected to nothing; root calls it as ":1.0".
func offline(t testing.TB) (*Server, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.ErrorLevel)
	s := NewServer(ServerConfig{Backend: fixed{}, Authorizer: fixed{}, LogControl: fixed{}, Log: zap.New(core).Sugar()})
	conn, err := godbus.NewConn(&stream{Reader: bytes.NewReader(nil)})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	b := &bus{newCallers(conn), conn, ":1.9"}
	b.users[":1.0"] = 0
	s.link = b
	s.work = t.Context()
	s.stopping, s.sendAway = context.WithCancelCause(s.work)
	close(s.up)
	return s, logs
}

// answerAll feeds a stream of calls to s and returns what it sends.
func answerAll(s *Server, data []byte) []byte {
	out := &stream{Reader: bytes.NewReader(data)}
	s.transport = newTransport(out, s.receive)
	s.transport.authenticated = true
	_, _ = io.Copy(io.Discard, s.transport) // what isn't a call; ends with any error, or none
	s.answered()
	return out.written.Bytes()
}

// FuzzHandler calls anything with anything. Each call is answered once, with what
// godbus finds valid, and no call panics.
func FuzzHandler(f *testing.F) {
	table := map[string]godbus.Variant{}
	add := func(path, iface, member string, args ...any) {
		m := &godbus.Message{Type: godbus.TypeMethodCall, Body: args, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldPath: godbus.MakeVariant(ManagerPath), godbus.FieldMember: godbus.MakeVariant("X"),
		}}
		if len(args) > 0 {
			m.Headers[godbus.FieldSignature] = godbus.MakeVariant(godbus.SignatureOf(args...))
		}
		frame := encodeMessage(f, binary.LittleEndian, m)
		size := binary.LittleEndian.Uint32(frame[4:])
		f.Add(path, iface, member, godbus.SignatureOf(args...).String(), frame[len(frame)-int(size):], byte(0))
	}
	add("/org/impermanence1", managerInterface, "ListRoots", map[string]godbus.Variant{"kind": godbus.MakeVariant("old")}, uint64(0))
	add("/org/impermanence1", managerInterface, "CreateSnapshot", "label", table, uint64(0))
	add("/org/impermanence1", managerInterface, "DeleteRoots", []ObjectPath{RootPath(257)}, table, uint64(0))
	add("/org/impermanence1", managerInterface, "PlanPrune", map[string]godbus.Variant{"keepLast": godbus.MakeVariant(uint32(1))}, uint64(0))
	add("/org/impermanence1", managerInterface, "SetNextBoot", "257", table, uint64(0))
	add("/org/impermanence1", managerInterface, "Restore", RootPath(257), [][]byte{[]byte("/srv\x00")}, map[string]godbus.Variant{"to": godbus.MakeVariant([]byte("/x"))}, uint64(0))
	add("/org/impermanence1", managerInterface, "ListVersions", []byte("/srv"), table, uint64(0))
	add("/org/impermanence1", managerInterface, "ApplyPersistence", []ObjectPath{EntryPath("/e")}, table, uint64(0))
	add("/org/impermanence1", managerInterface, "AddPersistence", []byte("/srv\x00"), map[string]godbus.Variant{"mode": godbus.MakeVariant(uint32(0o700))}, uint64(0))
	add("/org/impermanence1", managerInterface, "ListOrphans", table, uint64(0))
	add("/org/impermanence1", managerInterface, "ListLosses", map[string]godbus.Variant{"paths": godbus.MakeVariant([][]byte{[]byte("/etc\x00")})}, uint64(0))
	add("/org/impermanence1", managerInterface, "CompareRoots", RootPath(257), NoPath, map[string]godbus.Variant{"sinceUSec": godbus.MakeVariant(uint64(1))}, uint64(0))
	add("/org/impermanence1/entry/_2fe", entryInterface, "Remove", map[string]godbus.Variant{"when": godbus.MakeVariant("next-boot")}, uint64(0))
	add("/org/impermanence1/root/257", rootInterface, "SetPinned", true, table, uint64(0))
	add("/org/impermanence1/root/257", rootInterface, "Delete", table, uint64(0))
	add("/org/impermanence1/job/1", jobInterface, "Wait", uint64(1))
	add("/org/impermanence1/job/2", jobInterface, "Cancel", table, uint64(0))
	add("/org/freedesktop/LogControl1", propertiesInterface, "Set", logInterface, "LogLevel", godbus.MakeVariant("info"))
	add("/org/impermanence1/root/257", propertiesInterface, "GetAll", "")
	add("/org/impermanence1", objectsInterface, "GetManagedObjects")
	add("/", "org.freedesktop.DBus.Introspectable", "Introspect")
	add("/", "", "Ping")
	s, logs := offline(f)
	f.Fuzz(func(t *testing.T, path, iface, member, signature string, body []byte, flags byte) {
		if len(signature) > 255 || len(body) > maxCallSize {
			return
		}
		out := answerAll(s, callFrame(path, iface, member, signature, body, flags))
		if n := logs.FilterMessage("answer panicked").Len(); n > 0 {
			t.Fatalf("panic: %v", logs.All())
		}
		if flags&byte(godbus.FlagNoReplyExpected) != 0 {
			if len(out) > 0 {
				t.Errorf("an answer that nobody wants: %q", out)
			}
			return
		}
		reply, err := decode(out)
		if err != nil {
			t.Fatalf("answer %q: %v", out, err)
		}
		if reply.Headers[godbus.FieldReplySerial].Value() != uint32(99) || reply.Headers[godbus.FieldDestination].Value() != ":1.0" {
			t.Errorf("answer to somebody else: %v", reply)
		}
	})
}

// callFrame is a call from ":1.0", with the lengths that it must have to arrive at all.
func callFrame(path, iface, member, signature string, content []byte, flags byte) []byte {
	m := message{kind: godbus.TypeMethodCall, path: ObjectPath(path), iface: iface, member: member, body: body{signature, nil}}
	frame := encoder{b: []byte{'l', byte(godbus.TypeMethodCall), flags, protocolVersion}}
	frame.uint32(uint32(len(content)))
	frame.uint32(99)
	frame.array(8, func() {
		m.fields(&frame)
		frame.align(8)
		frame.byte(fieldSender)
		frame.signature("s")
		frame.string(":1.0")
	})
	frame.align(8)
	return append(frame.b, content...)
}

// held is where nothing is written before it is opened.
type held struct {
	stream
	open chan struct{}
}

func (h *held) Write(p []byte) (int, error) {
	<-h.open
	return h.stream.Write(p)
}

// Who reads calls goes on while nothing can be sent. What it refused is answered, too, before the server has answered all.
func TestRefusalsAreAnswers(t *testing.T) {
	s, _ := offline(t)
	for range maxCallsPerSender {
		if err := s.calls.take(":1.0"); err != nil {
			t.Fatal(err)
		}
	}
	call := callFrame("/", "", "Ping", "", nil, 0)
	out := &held{stream{Reader: bytes.NewReader(bytes.Repeat(call, maxRefusals))}, make(chan struct{})}
	s.transport = newTransport(out, s.receive)
	s.transport.authenticated = true
	_, _ = io.Copy(io.Discard, s.transport) // ends with the calls, which nothing holds up
	for range maxCallsPerSender {
		s.calls.give(":1.0")
	}
	written := make(chan []byte)
	go func() {
		s.answered()
		written <- bytes.Clone(out.written.Bytes())
	}()
	for range 10_000 {
		runtime.Gosched()
	}
	close(out.open)
	answers := bytes.NewReader(<-written)
	for i := range maxRefusals {
		if m, err := godbus.DecodeMessage(answers); err != nil || m.Type != godbus.TypeError {
			t.Fatalf("answer %d: %v, %v", i, m, err)
		}
	}
}
