package dbus

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	maxStreamsPerUser = 8
	maxStreams        = 64

	// streamPatience is how long a stream waits for its reader to come, and then for
	// a reader that does not read.
	streamPatience = 30 * time.Second
	// streamBuffer is what is held of a stream's lines; the socket holds about as much again.
	streamBuffer = 64 << 10
	// streamDelay is how long a line may lie in the buffer.
	streamDelay = 100 * time.Millisecond
)

// streams are the open streams of a server.
type streams struct {
	dir      string
	open     *quota[uint32]
	patience time.Duration
}

func newStreams(dir string) *streams {
	return &streams{dir, newQuota[uint32]("streams", maxStreamsPerUser, maxStreams), streamPatience}
}

// Stream is the way of a large result to the user who asked for it: a Unix socket
// below the runtime directory, through which one process of that user reads lines of
// JSON, once. Whoever gets one from the server closes it, or has Send do it.
//
// The directory can't be listed and the name can't be guessed; who comes is judged by
// the kernel's credentials (SO_PEERCRED, unix(7)), not by the mode of the socket, as the
// daemon may not give files away.
type Stream struct {
	uid      uint32
	path     string
	patience time.Duration
	listener *net.UnixListener
	release  func() // gives the quota back, once

	came   chan struct{} // closed when conn or failed is set
	conn   *net.UnixConn
	failed error
}

// create opens a stream for a user. From then on it waits for its reader.
func (s *streams) create(uid uint32) (*Stream, error) {
	if s.dir == "" {
		return nil, fmt.Errorf("open stream: %w: the daemon has no directory for streams", ErrNotSupported)
	}
	if err := s.open.take(uid); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	release := sync.OnceFunc(func() { s.open.give(uid) })
	listener, path, err := s.listen()
	if err != nil {
		release()
		return nil, fmt.Errorf("open stream: %w", err)
	}
	st := &Stream{uid: uid, path: path, patience: s.patience, listener: listener, release: release, came: make(chan struct{})}
	go st.await()
	return st, nil
}

// listen makes a socket that nobody can find who was not told of it.
func (s *streams) listen() (*net.UnixListener, string, error) {
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return nil, "", err
	}
	if err := os.Chmod(s.dir, 0o711); err != nil { // whatever the umask says
		return nil, "", err
	}
	path := filepath.Join(s.dir, rand.Text())
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, "", err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, "", errors.Join(err, listener.Close())
	}
	return listener, path, listener.SetDeadline(time.Now().Add(s.patience))
}

// await takes the first process of the user that comes; the socket is gone then.
// Others are sent away, and do not use it up.
func (s *Stream) await() {
	defer close(s.came)
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("%w: nobody came to read the stream within %s", ErrCanceled, s.patience)
			}
			s.failed = errors.Join(err, s.hangUp())
			return
		}
		uid, err := peer(conn)
		if err == nil && uid == s.uid {
			s.conn, s.failed = conn, s.hangUp()
			return
		}
		_ = conn.Close() // of somebody else
	}
}

// hangUp removes the socket, which Close may have done before.
func (s *Stream) hangUp() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// peer asks the kernel which user connected.
//
//nolint:forbidigo // SO_PEERCRED is part of the contract, and package net has no call for it
func peer(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(controlErr, err); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}

// Close ends the stream. What was sent stays readable for who is reading.
func (s *Stream) Close() error {
	err := s.hangUp()
	<-s.came
	if s.conn != nil {
		if closeErr := s.conn.Close(); !errors.Is(closeErr, net.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
	}
	s.release()
	return err
}

// Send waits for the reader, has produce write to it, marks the end when produce
// returns nil, and closes the stream. So nothing is done that nobody wants to read. A
// reader that does not come, goes away, or does not read any more is [ErrCanceled]; produce
// gets that from Encode. When ctx ends, so does what Encode waits for.
func (s *Stream) Send(ctx context.Context, produce func(*Lines) error) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	select {
	case <-s.came:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.failed != nil {
		return s.failed
	}
	past := time.Unix(1, 0)
	defer context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(past) })()
	lines := newLines(ctx, s)
	defer lines.lingerer.Stop()
	if err := produce(lines); err != nil {
		return errors.Join(err, lines.flush())
	}
	return lines.end()
}

// Lines encodes values as lines of JSON. Its methods may be called from several goroutines.
type Lines struct {
	ctx      context.Context // of the one Send that it lives in
	stream   *Stream
	mu       sync.Mutex
	buffer   *bufio.Writer
	encoder  *json.Encoder
	count    uint64
	lingerer *time.Timer // flushes what lies in the buffer
	err      error       // the first one stays
}

func newLines(ctx context.Context, s *Stream) *Lines {
	l := &Lines{ctx: ctx, stream: s}
	l.buffer = bufio.NewWriterSize(patient{l}, streamBuffer)
	l.encoder = json.NewEncoder(l.buffer)
	l.encoder.SetEscapeHTML(false)
	l.lingerer = time.AfterFunc(streamDelay, func() { _ = l.flush() }) // the next Encode tells
	return l
}

// Encode writes one value as a line, in a moment: it waits only when the reader is slow.
func (l *Lines) Encode(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.encode(v)
}

// Change writes a difference as a line, as Encode would.
func (l *Lines) Change(c *FileChange) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(func() error {
		_, err := l.buffer.Write(append(c.appendJSON(l.buffer.AvailableBuffer()), '\n'))
		return err
	})
}

func (l *Lines) encode(v any) error {
	return l.write(func() error { return l.encoder.Encode(v) })
}

// write writes one line.
func (l *Lines) write(line func() error) error {
	if l.err != nil {
		return l.err
	}
	if l.buffer.Buffered() == 0 {
		l.lingerer.Reset(streamDelay)
	}
	l.err = line()
	l.count++
	return l.err
}

func (l *Lines) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.buffer.Flush()
	}
	return l.err
}

// streamEnd is the last line of a stream that has everything.
type streamEnd struct {
	End   bool   `json:"end"`
	Lines uint64 `json:"lines"` // before this one
}

func (l *Lines) end() error {
	l.mu.Lock()
	err := l.encode(streamEnd{true, l.count})
	l.mu.Unlock()
	return errors.Join(err, l.flush())
}

// patient writes to the reader of a stream, as long as that one reads.
type patient struct{ *Lines }

func (p patient) Write(b []byte) (int, error) {
	s := p.stream
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return 0, err
	}
	if p.ctx.Err() != nil { // it ended meanwhile, and its deadline is the one before
		return 0, context.Cause(p.ctx)
	}
	n, err := s.conn.Write(b)
	switch {
	case err == nil:
		return n, nil
	case p.ctx.Err() != nil:
		return n, context.Cause(p.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("%w: nobody has read the stream for %s", ErrCanceled, s.patience)
	default:
		return n, fmt.Errorf("%w: the reader of the stream is gone: %w", ErrCanceled, err)
	}
}
