package dbus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"github.com/impermanence/impermanence/dbus"
)

// servedAlone serves one client without a bus. ended tells what Run returned.
func servedAlone(t *testing.T, auth dbus.Authorizer) (c *dbus.Client, b *backend, ended chan error) {
	t.Helper()
	b = newBackend()
	ours, theirs := pipes(t)
	s := dbus.NewServer(dbus.ServerConfig{Peer: ours, Backend: b, Authorizer: auth, LogControl: b})
	b.changed = s.Changed
	ended = make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go func() { ended <- s.Run(ctx) }()
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Peer: theirs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, b, ended
}

// pipes are the two ends of a connection, as standard input and output make one.
func pipes(t *testing.T) (a, b dbus.Pipes) {
	t.Helper()
	var files [4]*os.File
	for i := 0; i < len(files); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		files[i], files[i+1] = r, w
		t.Cleanup(func() { r.Close(); w.Close() })
	}
	return dbus.Pipes{ReadCloser: files[0], Out: files[3]}, dbus.Pipes{ReadCloser: files[2], Out: files[1]}
}

// A client cannot tell a daemon of its own from one on a bus: it reads, changes, follows a job to its end, and is refused.
func TestWithoutABus(t *testing.T) {
	c, b, ended := servedAlone(t, rootOnly{})
	roots, err := c.ListRoots(t.Context(), dbus.RootFilter{})
	if err != nil || len(roots) != 3 {
		t.Fatalf("%d roots, %v", len(roots), err)
	}
	id, err := c.Prune(t.Context(), dbus.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	job, err := c.Wait(t.Context(), id, func(dbus.Job) {
		if told++; told == 1 {
			b.end(id, dbus.ResultDone, nil)
		}
	})
	if err != nil || job.Result != dbus.ResultDone || job.StartedByUID != uint32(os.Geteuid()) {
		t.Errorf("ended as %+v, %v", job, err)
	}
	if told < 2 {
		t.Errorf("told of %d changes", told)
	}
	if _, err := c.DeleteRoots(t.Context(), []uint64{259}); !errors.Is(err, dbus.ErrProtected) {
		t.Errorf("a protected root: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, dbus.ErrPeerLeft) {
		t.Errorf("ended with %v", err)
	}
}

func TestRootAlone(t *testing.T) {
	if err := (dbus.RootAlone{}).Authorize(t.Context(), dbus.Caller{UID: 0}, "x", nil, false); err != nil {
		t.Error(err)
	}
	err := dbus.RootAlone{}.Authorize(t.Context(), dbus.Caller{UID: 1000}, "x", nil, true)
	if !errors.Is(err, dbus.ErrAccessDenied) {
		t.Errorf("anybody else: %v", err)
	}
}

// Whoever waits for a job and hangs up is let go of, and the server ends.
func TestWaitingWithoutABusEndsWithItsCaller(t *testing.T) {
	c, b, ended := servedAlone(t, rootOnly{})
	id := b.start(dbus.Caller{}, "prune")
	waiting := make(chan error, 1)
	go func() {
		_, err := c.Wait(t.Context(), id, func(dbus.Job) { c.Close() })
		waiting <- err
	}()
	if err := <-ended; !errors.Is(err, dbus.ErrPeerLeft) {
		t.Errorf("ended with %v", err)
	}
	if err := <-waiting; err == nil {
		t.Error("the wait ended well")
	}
}

// What is no D-Bus ends the server, or is answered with an error; it never hangs or panics.
func TestWhatIsNoClient(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":             "",
		"no authentication":   "\x00BEGIN\r\n",
		"another mechanism":   "\x00AUTH ANONYMOUS\r\nNEGOTIATE_UNIX_FD\r\n\r\n",
		"a line without end":  string(make([]byte, 1<<20)),
		"not a message":       "\x00AUTH EXTERNAL 30\r\nBEGIN\r\nGET / HTTP/1.1\r\n\r\n",
		"half of a message":   "\x00AUTH EXTERNAL 30\r\nBEGIN\r\nl\x01\x00\x01",
		"a question at a bus": "\x00AUTH EXTERNAL\r\nDATA\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			s := dbus.NewServer(dbus.ServerConfig{Peer: ours, Backend: newBackend(), Authorizer: dbus.RootAlone{}})
			ended := make(chan error, 1)
			go func() { ended <- s.Run(t.Context()) }()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			_, _ = io.WriteString(theirs, text) // the server may hang up before the end
			theirs.Close()
			if err := <-ended; !errors.Is(err, dbus.ErrPeerLeft) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
