package dbus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/impermanence/impermanence/test/bustest"
)

// newTestStreams makes streams in a directory that everybody may enter. They wait for their readers as long as the test may take.
func newTestStreams(t testing.TB) *streams {
	t.Helper()
	s := newStreams(filepath.Join(bustest.PublicDir(t), "streams"))
	s.patience = math.MaxInt64
	if timed, ok := t.(*testing.T); ok {
		if at, ends := timed.Deadline(); ends {
			s.patience = time.Until(at)
		}
	}
	return s
}

func (s *streams) mustCreate(t testing.TB, uid uint32) *Stream {
	t.Helper()
	st, err := s.create(uid)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// send runs Send on its own.
func (s *Stream) send(ctx context.Context, produce func(*Lines) error) <-chan error {
	sent := make(chan error, 1)
	go func() { sent <- s.Send(ctx, produce) }()
	return sent
}

// count produces so many numbers.
func count(n int) func(*Lines) error {
	return func(l *Lines) error {
		for i := range n {
			if err := l.Encode(i); err != nil {
				return err
			}
		}
		return nil
	}
}

func dialStream(t testing.TB, s *Stream) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// over fails unless nothing is left of a stream.
func (s *streams) over(t testing.TB) {
	t.Helper()
	s.open.wait()
	if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
		t.Errorf("sockets are left: %v, %v", left, err)
	}
}

func TestStreamIsReadOnce(t *testing.T) {
	s := newTestStreams(t)
	st := s.mustCreate(t, 0)
	sent := st.send(t.Context(), count(100_000))
	conn := dialStream(t, st)
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 100_002 || lines[0] != "0" || lines[99_999] != "99999" || lines[100_000] != `{"end":true,"lines":100000}` {
		t.Errorf("%d lines, the last %q", len(lines), lines[max(0, len(lines)-2):])
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", st.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read a second time: %v", err)
	}
	s.over(t)
}

// Another user who even knows the name gets nothing, and takes nothing from the one who may.
func TestOnlyTheAskingUserReadsAStream(t *testing.T) {
	s := newTestStreams(t)
	const script = `import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
sys.stdout.write(s.makefile().read())`
	connect := func(uid uint32, path string) string {
		out, err := bustest.As(exec.Command("/usr/bin/python3", "-c", script, path), uid).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, c := range []struct{ owner, other uint32 }{{0, bustest.Nobody}, {bustest.Nobody, 0}, {1, bustest.Nobody}} {
		st := s.mustCreate(t, c.owner)
		sent := st.send(t.Context(), count(1))
		for range 20 {
			if got := connect(c.other, st.path); got != "" {
				t.Fatalf("user %d read what user %d asked for: %q", c.other, c.owner, got)
			}
		}
		if got, want := connect(c.owner, st.path), "0\n{\"end\":true,\"lines\":1}\n"; got != want {
			t.Errorf("user %d read %q, want %q", c.owner, got, want)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	ls := bustest.As(exec.Command("ls", s.dir), bustest.Nobody)
	if out, err := ls.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("nobody listed the streams: %s", out)
	}
	s.over(t)
}

func TestStreamWithoutReader(t *testing.T) {
	s := newTestStreams(t)
	s.patience = time.Millisecond
	st := s.mustCreate(t, 0)
	err := st.Send(t.Context(), func(*Lines) error {
		t.Error("produced for nobody")
		return nil
	})
	if !errors.Is(err, ErrCanceled) || !strings.Contains(err.Error(), "nobody came") {
		t.Errorf("error %v", err)
	}
	s.over(t)
}

// A reader that stops in the middle holds the job up for a while, not for good.
func TestStreamWhoseReaderStops(t *testing.T) {
	s := newTestStreams(t)
	s.patience = 50 * time.Millisecond
	st := s.mustCreate(t, 0)
	conn := dialStream(t, st)
	err := <-st.send(t.Context(), count(1_000_000))
	if !errors.Is(err, ErrCanceled) || !strings.Contains(err.Error(), "nobody has read") {
		t.Errorf("error %v", err)
	}
	if data, err := io.ReadAll(conn); err != nil || strings.Contains(string(data), "end") {
		t.Errorf("what was sent in part looks complete: %v", err)
	}
	s.over(t)
}

func TestStreamWhoseReaderGoes(t *testing.T) {
	s := newTestStreams(t)
	st := s.mustCreate(t, 0)
	conn := dialStream(t, st)
	sent := st.send(t.Context(), count(10_000_000))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-sent; !errors.Is(err, ErrCanceled) || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("error %v", err)
	}
	s.over(t)
}

func TestStreamEndsWithItsContext(t *testing.T) {
	s := newTestStreams(t)
	reason := errors.New("the job was canceled")
	t.Run("before a reader came", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		sent := s.mustCreate(t, 0).send(ctx, count(1))
		cancel(reason)
		if err := <-sent; !errors.Is(err, reason) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("while nobody reads", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		st := s.mustCreate(t, 0)
		conn := dialStream(t, st)
		sent := st.send(ctx, count(1_000_000))
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		cancel(reason)
		if err := <-sent; !errors.Is(err, reason) {
			t.Errorf("error %v", err)
		}
	})
	s.over(t)
}

// What failed is told by the job; the lines before it arrive, and don't look complete.
func TestStreamOfWhatFails(t *testing.T) {
	s := newTestStreams(t)
	st := s.mustCreate(t, 0)
	conn := dialStream(t, st)
	sent := st.send(t.Context(), func(l *Lines) error { return errors.Join(count(3)(l), ErrNoSpace) })
	if data, err := io.ReadAll(conn); err != nil || string(data) != "0\n1\n2\n" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := <-sent; !errors.Is(err, ErrNoSpace) {
		t.Errorf("error %v", err)
	}
	s.over(t)
}

// A line comes while the next is being looked for, however long that takes.
func TestStreamIsNotHeldBack(t *testing.T) {
	s := newTestStreams(t)
	st := s.mustCreate(t, 0)
	conn := bufio.NewReader(dialStream(t, st))
	read := make(chan struct{})
	sent := st.send(t.Context(), func(l *Lines) error {
		for i := range 3 {
			if err := l.Encode(i); err != nil {
				return err
			}
			<-read
		}
		return nil
	})
	for i := range 3 {
		if line, err := conn.ReadString('\n'); err != nil || line != fmt.Sprintln(i) {
			t.Fatalf("read %q, %v", line, err)
		}
		read <- struct{}{}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestStreamOfManyProducers(t *testing.T) {
	s := newTestStreams(t)
	st := s.mustCreate(t, 0)
	conn := dialStream(t, st)
	sent := st.send(t.Context(), func(l *Lines) error {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := count(10_000)(l); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return nil
	})
	var sum, lines int
	decoder := json.NewDecoder(conn)
	for range 80_000 {
		var n int
		if err := decoder.Decode(&n); err != nil {
			t.Fatal(err)
		}
		sum += n
		lines++
	}
	var end streamEnd
	if err := decoder.Decode(&end); err != nil || end != (streamEnd{true, 80_000}) || sum != 8*9999*10_000/2 {
		t.Errorf("end %v, sum %d of %d lines: %v", end, sum, lines, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := newTestStreams(t)
	var all []*Stream
	for range maxStreamsPerUser {
		all = append(all, s.mustCreate(t, 1000))
	}
	if _, err := s.create(1000); !errors.Is(err, ErrLimitsExceeded) {
		t.Errorf("one more: %v", err)
	}
	all = append(all, s.mustCreate(t, 1001)) // somebody else
	for _, st := range all {
		if err := errors.Join(st.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	}
	s.over(t)
	if err := s.mustCreate(t, 1000).Close(); err != nil {
		t.Error(err)
	}
	if _, err := newStreams("").create(0); !errors.Is(err, ErrNotSupported) {
		t.Errorf("without a directory: %v", err)
	}
	s.over(t)
}

func FuzzBytes(f *testing.F) {
	for _, seed := range []string{"", "/etc", "/a\xffb", "\"\\\n\u2028<&>", "\ufffd", "\x00", `{"base64":"AA=="}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(Bytes(s))
		if err != nil {
			t.Fatal(err)
		}
		var back Bytes
		if err := json.Unmarshal(data, &back); err != nil || string(back) != s {
			t.Errorf("%q became %s and then %q: %v", s, data, back, err)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	s := newTestStreams(b)
	type loss struct {
		Path  Bytes  `json:"path"`
		Kind  string `json:"kind"`
		Bytes uint64 `json:"bytes"`
	}
	st := s.mustCreate(b, 0)
	conn := dialStream(b, st)
	b.ReportAllocs()
	sent := st.send(b.Context(), func(l *Lines) error {
		for b.Loop() {
			if err := l.Encode(loss{"/var/lib/something/or/other/file", "added", 4711}); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := io.Copy(io.Discard, conn); err != nil {
		b.Fatal(err)
	}
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
}
