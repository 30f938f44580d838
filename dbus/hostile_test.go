package dbus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

const managerName = "org.impermanence1.Manager"

// serves fails the test unless the server answers somebody else.
func (s *served) serves(t testing.TB) {
	t.Helper()
	if _, err := s.client(t).ListRoots(t.Context(), dbus.RootFilter{}); err != nil {
		t.Fatalf("the server doesn't serve any more: %v", err)
	}
}

// until calls the server until the condition holds.
func (s *served) until(t testing.TB, condition func() bool) {
	t.Helper()
	for !condition() {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// errorOf is the name of the error that a call ended with.
func errorOf(err error) string {
	var e godbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return fmt.Sprint(err)
}

func openFiles(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestFileDescriptorsNeverArrive sends what ends a process that uses godbus as it is
// (v5.2.4 panics over "ah" and "a{sh}"), and what fills its table of files.
func TestFileDescriptorsNeverArrive(t *testing.T) {
	s := newServed(t)
	s.serves(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := godbus.UnixFD(null.Fd())
	before := openFiles(t)
	object := conn.Object(dbus.BusName, manager)
	for _, arg := range []any{[]godbus.UnixFD{fd}, map[string]godbus.UnixFD{"x": fd}, fd, godbus.MakeVariant(fd)} {
		err := object.Call(managerName+".ListRoots", 0, arg).Err
		switch name := errorOf(err); name {
		case "org.freedesktop.DBus.Error.NotSupported": // dbus-daemon
		case "org.freedesktop.DBus.Error.Failed": // dbus-broker
		default:
			t.Errorf("%T: %s: %v", arg, name, err)
		}
	}
	unique := conn.Names()[0]
	owner := s.owner(t)
	for range 300 {
		if err := object.Call(managerName+".ListRoots", godbus.FlagNoReplyExpected, []godbus.UnixFD{fd, fd}).Err; err != nil {
			t.Fatal(err)
		}
		signal := &godbus.Message{Type: godbus.TypeSignal, Headers: map[godbus.HeaderField]godbus.Variant{
			godbus.FieldDestination: godbus.MakeVariant(owner), godbus.FieldPath: godbus.MakeVariant(godbus.ObjectPath("/x")),
			godbus.FieldInterface: godbus.MakeVariant("x.y"), godbus.FieldMember: godbus.MakeVariant("Z"),
			godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf([]godbus.UnixFD{})),
		}, Body: []any{[]godbus.UnixFD{fd}}}
		conn.Send(signal, nil)
	}
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatalf("%s: %v", unique, err)
	}
	s.serves(t)
	if after := openFiles(t); after > before+4 { // the clients of serves
		t.Errorf("%d files are open, %d were", after, before)
	}
}

// owner is the unique name of the server.
func (s *served) owner(t testing.TB) string {
	t.Helper()
	conn, err := dbus.DialAddress(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var owner string
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, dbus.BusName).Store(&owner); err != nil {
		t.Fatal(err)
	}
	return owner
}

// TestEmptyFileDescriptorTypes sends the same types without a descriptor, which a bus passes on.
func TestEmptyFileDescriptorTypes(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	owner := s.owner(t)
	for _, arg := range []any{[]godbus.UnixFDIndex{0}, map[string]godbus.UnixFDIndex{"x": 1}, godbus.UnixFDIndex(7), []godbus.UnixFDIndex{}} {
		for _, kind := range []godbus.Type{godbus.TypeMethodCall, godbus.TypeSignal} {
			conn.Send(&godbus.Message{Type: kind, Headers: map[godbus.HeaderField]godbus.Variant{
				godbus.FieldDestination: godbus.MakeVariant(owner), godbus.FieldPath: godbus.MakeVariant(godbus.ObjectPath(manager)),
				godbus.FieldInterface: godbus.MakeVariant(managerName), godbus.FieldMember: godbus.MakeVariant("ListRoots"),
				godbus.FieldSignature: godbus.MakeVariant(godbus.SignatureOf(arg)),
			}, Body: []any{arg}}, make(chan *godbus.Call, 1))
			s.serves(t)
		}
	}
}

// TestFloodWithoutReplies sends calls whose answers nobody wants, faster than they can be answered.
func TestFloodWithoutReplies(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	object := conn.Object(dbus.BusName, manager)
	most := 0
	for i := range 10_000 {
		call := object.Call(managerName+".ListRoots", godbus.FlagNoReplyExpected, map[string]godbus.Variant{}, uint64(0))
		if call.Err != nil {
			t.Fatal(call.Err)
		}
		if i%100 == 0 {
			most = max(most, runtime.NumGoroutine())
		}
		if i%2500 == 0 {
			s.serves(t)
		}
	}
	s.serves(t)
	if most > 400 { // 128 calls of one connection, and what tests are made of
		t.Errorf("%d goroutines", most)
	}
}

// TestFloodOfManyCallers has many connections call at once and then leave without reading.
func TestFloodOfManyCallers(t *testing.T) {
	s := newServed(t)
	var all sync.WaitGroup
	for range 20 {
		conn := bustest.DialAs(t, s.address, bustest.Nobody)
		all.Go(func() {
			for range 200 {
				conn.Object(dbus.BusName, manager).Go("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0, make(chan *godbus.Call, 1))
			}
			conn.Close()
		})
	}
	s.serves(t)
	all.Wait()
	s.until(t, func() bool { return s.Live() <= 1 }) // the Ping itself
	s.serves(t)
}

// TestWaitersAreBoundedAndLeave has one user wait for a job as often as they may, and then go.
func TestWaitersAreBoundedAndLeave(t *testing.T) {
	s := newServed(t)
	if _, err := s.client(t).CreateSnapshot(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	results := make(chan *godbus.Call, 200)
	for range 100 {
		conn.Object(dbus.BusName, manager+"/job/1").Go("org.impermanence1.Job.Wait", 0, results, uint64(0))
	}
	for range 100 - 64 {
		if name := errorOf((<-results).Err); name != "org.freedesktop.DBus.Error.LimitsExceeded" {
			t.Fatalf("error %s", name)
		}
	}
	if n := s.Parked(); n != 64 {
		t.Errorf("%d wait", n)
	}
	if n := s.Held(); n >= 64 { // of the others some may not be over yet
		t.Errorf("who waits has %d calls under way", n)
	}
	s.serves(t)
	conn.Close()
	s.until(t, func() bool { return s.Parked() == 0 })
}

func TestJobsAreBounded(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	for range 64 {
		if _, err := c.Prune(t.Context(), dbus.PruneOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Prune(t.Context(), dbus.PruneOptions{}); !errors.Is(err, dbus.ErrLimitsExceeded) {
		t.Errorf("error %v", err)
	}
	s.serves(t)
}

// TestGiantArguments sends calls of 8 MiB, which are skipped, not held.
func TestGiantArguments(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	object := conn.Object(dbus.BusName, manager)
	for name, args := range map[string][]any{
		"string":  {strings.Repeat("x", 8<<20), map[string]godbus.Variant{}, uint64(0)},
		"list":    {[]string{strings.Repeat("x", 8<<20)}},
		"variant": {map[string]godbus.Variant{"x": godbus.MakeVariant(strings.Repeat("x", 8<<20))}},
	} {
		err := object.Call(managerName+".CreateSnapshot", 0, args...).Err
		if got := errorOf(err); got != "org.freedesktop.DBus.Error.LimitsExceeded" {
			t.Errorf("%s: %v", name, err)
		}
		s.serves(t)
	}
	// Just below the limit, and refused for what it says.
	err := object.Call(managerName+".CreateSnapshot", 0, strings.Repeat("x", 1<<19), map[string]godbus.Variant{}, uint64(0)).Err
	if got := errorOf(err); got != "org.impermanence1.Error.InvalidName" {
		t.Errorf("half a megabyte: %v", err)
	}
}

// TestGiantReply asks for more than a message holds: a bus would hang up on who sends it.
func TestGiantReply(t *testing.T) {
	s := newServed(t)
	s.backend.update(dbus.EntriesChanged, func() {
		for i := range 40 {
			s.backend.entries = append(s.backend.entries, dbus.Entry{Target: fmt.Sprintf("/e/%d", i), Source: strings.Repeat("x", 512<<10)})
		}
	})
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	err := conn.Object(dbus.BusName, manager).Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Err
	if got := errorOf(err); got != "org.freedesktop.DBus.Error.LimitsExceeded" {
		t.Errorf("error %s", got)
	}
	s.serves(t)
}

// TestWrongTypes calls every method with every wrong argument list.
func TestWrongTypes(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	lists := [][]any{
		{},
		{int64(-1)},
		{1.9},
		{"x"},
		{[]string{"x"}},
		{godbus.MakeVariant(godbus.MakeVariant("x"))},
		{map[string]godbus.Variant{"x": godbus.MakeVariant(map[string]string{})}},
		{"a", "b", "c", "d", "e"},
		{[][]byte{{1}, {2}}},
		{uint64(1), uint64(2)},
	}
	for _, method := range dbus.Methods() {
		for _, args := range lists {
			err := conn.Object(dbus.BusName, manager).Call(method.Name, 0, args...).Err
			if godbus.SignatureOf(args...).String() == method.In {
				continue
			}
			switch errorOf(err) {
			case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.UnknownInterface":
			default:
				t.Errorf("%s(%v): %v", method.Name, args, err)
			}
		}
	}
	if calls := s.backend.log(); len(calls) > 0 {
		t.Errorf("the backend was asked: %q", calls)
	}
}

// TestStorm reads everything while objects come and go.
func TestStorm(t *testing.T) {
	s := newServed(t)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for i := uint64(1000); ctx.Err() == nil; i++ {
			s.backend.update(dbus.RootsChanged|dbus.EntriesChanged, func() {
				s.backend.roots = append(s.backend.roots[:3:3], dbus.Root{ID: i, Name: fmt.Sprint(i)}, dbus.Root{ID: i + 1})
				s.backend.entries = append(s.backend.entries[:2:2], dbus.Entry{Target: fmt.Sprintf("/e/%d", i)})
			})
			runtime.Gosched()
		}
	})
	for _, path := range []string{manager, manager + "/root", manager + "/entry", "/"} {
		conn := bustest.DialAs(t, s.address, bustest.Nobody)
		all.Go(func() {
			for range 200 {
				if err := conn.Object(dbus.BusName, dbus.ObjectPath(path)).Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Err; err != nil {
					t.Error(err)
				}
			}
		})
	}
	reader := bustest.DialAs(t, s.address, bustest.Nobody)
	all.Go(func() {
		defer stop()
		for range 200 {
			if err := reader.Object(dbus.BusName, manager).Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Err; err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	s.serves(t)
}

// TestManyMatchRules has a listener that asks for everything as often as it may.
func TestManyMatchRules(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, bustest.Nobody)
	for i := range 600 {
		err := conn.AddMatchSignal(godbus.WithMatchSender(dbus.BusName), godbus.WithMatchArg(0, fmt.Sprint(i)))
		if err != nil {
			break // the bus's own limit
		}
	}
	l := s.listen(t)
	s.backend.update(dbus.ManagerChanged, func() { s.backend.manager.NextBoot = "keep" })
	l.expect(" PropertiesChanged org.impermanence1.Manager {NextBoot=keep} []")
}
