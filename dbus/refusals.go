package dbus

import "sync"

// maxRefusals is how many refusals may wait to be sent; who refuses more waits.
const maxRefusals = 512

// refusals sends the errors that the reader refuses calls with, as many at a time as there are: it goes on while a long answer is
// sent. They are short: what is longer is sent by who answers the call.
type refusals struct {
	send func(...message)

	mu      sync.Mutex
	queue   []message
	sending bool
	fewer   *sync.Cond
}

func newRefusals(send func(...message)) *refusals {
	r := &refusals{send: send}
	r.fewer = sync.NewCond(&r.mu)
	return r
}

// add leaves an answer to be sent.
func (r *refusals) add(m message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) >= maxRefusals {
		r.fewer.Wait()
	}
	r.queue = append(r.queue, m)
	if !r.sending {
		r.sending = true
		go r.run()
	}
}

// run sends until nothing is left.
func (r *refusals) run() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		batch := r.queue
		r.queue = nil
		r.fewer.Broadcast()
		r.mu.Unlock()
		r.send(batch...)
		r.mu.Lock()
	}
	r.sending = false
	r.fewer.Broadcast()
}

// wait returns when all were sent.
func (r *refusals) wait() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.sending {
		r.fewer.Wait()
	}
}
