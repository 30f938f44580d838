package boot

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
)

// errNotSaid says that a machine went off before it had said what was waited for.
var errNotSaid = errors.New("the machine went off before it said what was waited for")

// screen is a machine's console: what was printed on it, and who waits for what.
type screen struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	read   int           // how far await has come
	news   chan struct{} // holds one when something was printed

	transcript io.Writer // gets it too
}

// Write prints.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	s.buffer.Write(p)
	_, err := s.transcript.Write(p)
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return len(p), err
}

// clear makes it as if nothing was printed. The transcript keeps it.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer.Reset()
	s.read = 0
}

// await waits until text is printed, after what it waited for last; it is false when the machine is off before.
func (s *screen) await(text string, off <-chan struct{}) bool {
	return s.awaitThat(func() bool { return s.seen(text) }, off)
}

// awaitLength waits until so many bytes are printed.
func (s *screen) awaitLength(length int, off <-chan struct{}) bool {
	return s.awaitThat(func() bool { return len(s.text()) >= length }, off)
}

func (s *screen) awaitThat(done func() bool, off <-chan struct{}) bool {
	for {
		if done() {
			return true
		}
		select {
		case <-s.news:
		case <-off:
			return done()
		}
	}
}

func (s *screen) seen(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := bytes.Index(s.buffer.Bytes()[s.read:], []byte(text))
	if i < 0 {
		return false
	}
	s.read += i + len(text)
	return true
}

// text is all that was printed.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.String()
}

// tail is the end of what a machine printed.
func tail(console string) string {
	const lines = 60
	all := strings.Split(console, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
