package dbus_test

import (
	"strings"
	"sync"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

const (
	perConnection = 128
	perUser       = 512
	ofUsers       = 1024

	one, another, third = bustest.Nobody, 1, 2 // users
)

var table = map[string]godbus.Variant{}

// plan asks for a plan, which a test can hold up, and does not wait for the answer.
func plan(conn *godbus.Conn, answers chan *godbus.Call) {
	conn.Object(dbus.BusName, manager).Go(managerName+".PlanPrune", 0, answers, table, uint64(0))
}

// arrived waits until what was sent before on the connection is at the server's door.
func arrived(t testing.TB, conn *godbus.Conn) {
	t.Helper()
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil {
		t.Fatal(err)
	}
}

// settled waits until whose calls there are is known.
func (s *served) settled(t testing.TB, conn *godbus.Conn) {
	t.Helper()
	for _, asked := s.Remembered(); asked > 0 || s.Strangers() > 0; _, asked = s.Remembered() {
		arrived(t, conn)
	}
}

// heldUp is a server whose plans take until it is let go.
func heldUp(t testing.TB) (s *served, letGo func()) {
	t.Helper()
	b := newBackend()
	b.planned = make(chan struct{})
	s = serve(t, bustest.Start(t), b, rootOnly{})
	letGo = sync.OnceFunc(func() { close(b.planned) })
	t.Cleanup(letGo)
	return s, letGo
}

// longPlan is long, and soon read.
func longPlan() []dbus.PlanItem { return []dbus.PlanItem{{Name: strings.Repeat("x", 200_000)}} }

// fill has a user call as often as one may, and a little more, from several connections.
func (s *served) fill(t testing.TB, uid uint32, answers chan *godbus.Call) {
	t.Helper()
	for range perUser/perConnection + 1 {
		conn := bustest.DialAs(t, s.address, uid)
		for range perConnection {
			plan(conn, answers)
		}
		arrived(t, conn)
	}
	for i := range perConnection {
		if name := errorOf((<-answers).Err); name != "org.freedesktop.DBus.Error.LimitsExceeded" {
			t.Fatalf("call %d of user %d: error %s", i, uid, name)
		}
	}
}

// succeed fails the test unless so many calls are answered well.
func succeed(t testing.TB, answers chan *godbus.Call, count int) {
	t.Helper()
	for i := range count {
		if err := (<-answers).Err; err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

// Whatever a user who is not root does, others may call; whatever all of them do, root may, and the watchdog has its sign of life.
func TestNobodyKeepsOthersFromCalling(t *testing.T) {
	s, letGo := heldUp(t)
	answers := make(chan *godbus.Call, 2*ofUsers)
	s.fill(t, one, answers)
	reachable := func(uid uint32) {
		t.Helper()
		if err := bustest.DialAs(t, s.address, uid).Object(dbus.BusName, manager).Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
			t.Errorf("user %d: %v", uid, err)
		}
	}
	reachable(another)
	s.settled(t, bustest.DialAs(t, s.address, third))
	s.fill(t, another, answers)
	s.until(t, func() bool { return s.Live() <= ofUsers }) // what was refused is over soon after its answer
	if live := s.Live(); live != ofUsers {
		t.Errorf("%d calls are under way", live)
	}
	if strangers := s.Strangers(); strangers != 0 {
		t.Errorf("%d of them are nobody's", strangers)
	}
	reachable(third) // each user is sure of one
	ofRoot := bustest.DialAs(t, s.address, 0)
	for range perConnection {
		plan(ofRoot, answers)
	}
	arrived(t, ofRoot)
	reachable(0)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	letGo()
	succeed(t, answers, ofUsers+perConnection)
	s.until(t, func() bool { return s.Live() <= 1 }) // the Ping itself
	if held := s.Held(); held != 0 {
		t.Errorf("%d calls still count", held)
	}
}

// The daemon's own connection is asked for nothing but signs of life, which root's calls can't keep away either.
func TestPingOfAServerThatRootAsksTooMuch(t *testing.T) {
	s, letGo := heldUp(t)
	answers := make(chan *godbus.Call, 2*ofUsers)
	s.fill(t, 0, answers)
	for range 2 {
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	letGo()
	succeed(t, answers, perUser)
}

// Who stops the server hears that all was answered that came before, also what was refused.
func TestRefusedCallsAreAnsweredBeforeTheEnd(t *testing.T) {
	s, letGo := heldUp(t)
	conn := bustest.DialAs(t, s.address, one)
	const count = 100
	answers := make(chan *godbus.Call, perConnection+count)
	// A bus lets a connection wait for 128 answers: those that nobody wants fill the account.
	for range perConnection {
		conn.Object(dbus.BusName, manager).Go(managerName+".PlanPrune", godbus.FlagNoReplyExpected, nil, table, uint64(0))
	}
	for range count {
		plan(conn, answers)
	}
	arrived(t, conn)
	ended := make(chan error)
	go func() { ended <- s.stop() }()
	for range count {
		if name := errorOf((<-answers).Err); name != "org.freedesktop.DBus.Error.LimitsExceeded" {
			t.Fatalf("error %s", name)
		}
	}
	letGo()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// serialOf calls a method and returns how many messages the server had sent with the answer.
func serialOf(t testing.TB, conn *godbus.Conn, method string, args ...any) uint32 {
	t.Helper()
	seen := make(chan *godbus.Message, 16)
	conn.Eavesdrop(seen)
	conn.Object(dbus.BusName, manager).Go(method, 0, make(chan *godbus.Call, 1), args...)
	for m := range seen {
		switch m.Type {
		case godbus.TypeMethodReply:
			return m.Serial()
		case godbus.TypeError:
			t.Errorf("%s: %v", method, m)
			return m.Serial()
		default:
		}
	}
	return 0
}

// While one user wants long answers a short one of another's waits for few of them, and so does a long one.
func TestLongAnswersWaitForEachOther(t *testing.T) {
	const few = 64
	s, letGo := heldUp(t)
	s.backend.plan = longPlan()
	short, long := bustest.DialAs(t, s.address, another), bustest.DialAs(t, s.address, 0)
	answers := make(chan *godbus.Call, 2*ofUsers)
	s.fill(t, one, answers)
	before := s.Sent()
	letGo()
	var all sync.WaitGroup
	all.Go(func() {
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if sent := s.Sent() - before; sent > few {
			t.Errorf("the watchdog waited for %d messages", sent)
		}
	})
	all.Go(func() {
		if sent := serialOf(t, short, "org.freedesktop.DBus.Properties.Get", managerName, "Version") - before; sent > few {
			t.Errorf("a short answer waited for %d messages", sent)
		}
	})
	all.Go(func() {
		if sent := serialOf(t, long, managerName+".ListRoots", table, uint64(0)) - before; sent > few {
			t.Errorf("root's list waited for %d messages", sent)
		}
	})
	all.Wait()
	succeed(t, answers, perUser)
}

// The bus is asked once whose a connection is, however many calls come before it has answered.
func TestAConnectionIsIdentifiedOnce(t *testing.T) {
	s := newServed(t)
	conn := bustest.DialAs(t, s.address, one)
	before := s.Sent()
	answers := make(chan *godbus.Call, perConnection)
	for range perConnection {
		conn.Object(dbus.BusName, manager).Go("org.freedesktop.DBus.Peer.Ping", 0, answers)
	}
	succeed(t, answers, perConnection)
	s.settled(t, conn)
	if asked := s.Sent() - before - perConnection; asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// Connections that come and go leave nothing behind.
func TestConnectionsThatComeAndGo(t *testing.T) {
	s := newServed(t)
	for range 300 {
		conn := bustest.DialAs(t, s.address, one)
		conn.Object(dbus.BusName, manager).Go("org.freedesktop.DBus.Peer.Ping", 0, make(chan *godbus.Call, 1))
		if err := conn.Object(dbus.BusName, manager).Call("org.freedesktop.DBus.Peer.Ping", 0).Err; err != nil {
			t.Fatal(err)
		}
		conn.Object(dbus.BusName, manager).Go("org.freedesktop.DBus.Peer.Ping", 0, make(chan *godbus.Call, 1))
		conn.Close()
	}
	s.until(t, func() bool { return s.Live() <= 1 }) // the Ping itself
	s.settled(t, bustest.DialAs(t, s.address, third))
	if known, asked := s.Remembered(); known > 256 || asked != 0 {
		t.Errorf("%d connections are known, the bus is asked for %d", known, asked)
	}
	if held := s.Held(); held != 0 {
		t.Errorf("%d calls still count", held)
	}
}
