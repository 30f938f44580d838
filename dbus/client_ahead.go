package dbus

import (
	"io"
	"sync"
	"time"
)

const (
	// aheadPieces is how many pieces of a stream are held before somebody has to take one.
	aheadPieces = 64
	// aheadPause is how long nobody may take one before another is read all the same. It is less than streamPatience.
	aheadPause = 10 * time.Second
)

// ahead reads a stream before its reader asks: the daemon gives up on who does not read for a while, as somebody does who
// looks at what is printed page by page.
type ahead struct {
	in          io.Reader
	came, taken chan struct{}

	mu   sync.Mutex
	held [][]byte
	err  error // what ended the stream, after what is held
}

func readAhead(in io.Reader) *ahead {
	a := &ahead{in: in, came: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
	go a.run()
	return a
}

// run reads until the stream ends.
func (a *ahead) run() {
	for {
		piece := make([]byte, streamBuffer)
		n, err := a.in.Read(piece)
		a.mu.Lock()
		a.held, a.err = append(a.held, piece[:n]), err
		full := len(a.held) >= aheadPieces
		a.mu.Unlock()
		poke(a.came)
		if err != nil {
			return
		}
		if full {
			select {
			case <-a.taken:
			case <-time.After(aheadPause):
			}
		}
	}
}

// Read takes what was read, and waits where there is nothing.
func (a *ahead) Read(p []byte) (int, error) {
	for {
		n, err := a.take(p)
		if n > 0 || err != nil {
			poke(a.taken)
			return n, err
		}
		<-a.came
	}
}

func (a *ahead) take(p []byte) (n int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n == 0 && len(a.held) > 0 {
		n = copy(p, a.held[0])
		if a.held[0] = a.held[0][n:]; len(a.held[0]) == 0 {
			a.held = a.held[1:]
		}
	}
	if n == 0 {
		err = a.err
	}
	return n, err
}
