package dbus

import (
	"fmt"
	"sync"
)

// What one caller may have of the daemon at a time, and all together. A bus lets a
// connection wait for 128 replies; without these limits calls that want no reply, or
// many connections, could start as many goroutines as they like.
const (
	maxCallsPerSender = 128
	maxCallsPerUser   = maxCalls / 2
	maxCalls          = 1024 // of all users but root
	maxParkedPerUser  = 64
	maxJobsPerUser    = 64
)

// maxPaths is how many paths one call may name.
const maxPaths = 1000

// quota counts what is under way for each key.
type quota[K comparable] struct {
	what        string // what is counted, for people
	perKey, all int    // limits; all 0: none
	sure        int    // what a key may have, whatever others have

	mu    sync.Mutex
	total int
	used  map[K]int
	idle  *sync.Cond
}

func newQuota[K comparable](what string, perKey, all int) *quota[K] {
	q := &quota[K]{what: what, perKey: perKey, all: all, used: map[K]int{}}
	q.idle = sync.NewCond(&q.mu)
	return q
}

// take counts one more for key, unless that would be one too many.
func (q *quota[K]) take(key K) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.all > 0 && q.total >= q.all && q.used[key] >= q.sure:
		return fmt.Errorf("%w: %d %s are under way", ErrLimitsExceeded, q.total, q.what)
	case q.used[key] >= q.perKey:
		return fmt.Errorf("%w: %d %s of yours are under way", ErrLimitsExceeded, q.perKey, q.what)
	}
	q.total++
	q.used[key]++
	return nil
}

// give counts one less.
func (q *quota[K]) give(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.used[key]--; q.used[key] == 0 {
		delete(q.used, key)
	}
	if q.total == 0 {
		q.idle.Broadcast()
	}
}

// wait returns when nothing is under way.
func (q *quota[K]) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.total > 0 {
		q.idle.Wait()
	}
}
