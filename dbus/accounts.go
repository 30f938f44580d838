package dbus

import (
	"math"
	"sync"
)

// stranger is the user of those whose user is not known: (uid_t)-1, which nobody has.
const stranger = math.MaxUint32

// accounts count the calls that are under way, so that nobody keeps others from calling: root has an account that nobody else
// can fill, and of the others none can have more than half.
//
// Whose a call is only the bus knows, and the reader, which hands on the bus's answers, can't wait for one. So the first calls
// of a connection count as those of a stranger until it has answered. Strangers have an account as large as a user's. As many
// could fill it at once, each connection is sure of two calls, one after the other; there are only as many as the bus allows.
//
// The daemon's own calls, which are the watchdog's, count for nobody.
type accounts struct {
	own         string // the connection of the daemon
	users, root *quota[uint32]
	strangers   *quota[string] // by connection
}

func newAccounts() *accounts {
	a := &accounts{
		users:     newQuota[uint32]("calls", maxCallsPerUser, maxCalls),
		root:      newQuota[uint32]("calls", maxCallsPerUser, 0),
		strangers: newQuota[string]("calls of new connections", maxCallsPerSender, maxCallsPerUser),
	}
	a.users.sure, a.strangers.sure = 1, 2
	return a
}

// take counts a call of a user.
func (a *accounts) take(c Caller) (give func(), err error) {
	q := a.users
	switch {
	case c.Sender == a.own:
		return func() {}, nil
	case c.UID == 0:
		q = a.root
	}
	return func() { q.give(c.UID) }, q.take(c.UID)
}

// takeStranger counts a call of a connection whose user is not known yet.
func (a *accounts) takeStranger(c Caller) (give func(), err error) {
	if c.Sender == a.own {
		return func() {}, nil
	}
	return func() { a.strangers.give(c.Sender) }, a.strangers.take(c.Sender)
}

// turns has those of one user wait for each other, in the order in which they came.
type turns struct {
	mu sync.Mutex
	of map[uint32]*turn
}

type turn struct {
	sync.Mutex
	wanted int // by how many
}

func newTurns() *turns { return &turns{of: map[uint32]*turn{}} }

// take waits for a turn of the user's, which ends with done.
func (t *turns) take(uid uint32) (done func()) {
	t.mu.Lock()
	one := t.of[uid]
	if one == nil {
		one = &turn{}
		t.of[uid] = one
	}
	one.wanted++
	t.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if one.wanted--; one.wanted == 0 {
			delete(t.of, uid)
		}
	}
}
