package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/util"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// Restorer brings paths of an old root back.
type Restorer interface {
	// Restore does so, and calls news meanwhile. The error is that of the whole; what happened to one path stands in its
	// result.
	Restore(ctx context.Context, r RestoreRequest, news func(RestoreNews)) error
}

// RestoreRequest is what to bring back, and from where.
type RestoreRequest struct {
	From   dbus.Bytes    `json:"from"` // directory of the old root
	Items  []RestoreItem `json:"items"`
	DryRun bool          `json:"dryRun"`
}

// RestoreItem is a persist.RestoreItem on its way to the service: no byte of it is changed.
type RestoreItem struct {
	Source dbus.Bytes `json:"source"`
	Target dbus.Bytes `json:"target"`
}

// RestoreNews is how far a restore is: what became of a path, or how many files, directories and the like were copied.
type RestoreNews struct {
	Result  *dbus.RestoreResult `json:"result,omitempty"`
	Entries uint64              `json:"entries,omitempty"`
}

// RestoreUnit is the service that PID 1 is asked to start, with the name of a socket in the runtime directory. It writes
// where this process, in its sandbox, can't, and sees what is mounted where as the machine does.
const RestoreUnit = "impermanence-restore@%s.service"

// NewRestorer returns the restorer that fits: a service of its own where this process is a service, else this process.
func NewRestorer(opts Options) Restorer {
	if opts.Sysroot == "/" && os.Getenv("INVOCATION_ID") != "" && util.IsRunningSystemd() {
		return unitRestorer{opts.RunDir, startUnit}
	}
	return directRestorer{opts.Sysroot}
}

// directRestorer writes in this process.
type directRestorer struct{ sysroot string }

// newsEvery is how often progress is told.
const newsEvery = 100 * time.Millisecond

func (d directRestorer) Restore(ctx context.Context, r RestoreRequest, news func(RestoreNews)) error {
	var told time.Time
	items := make([]persist.RestoreItem, len(r.Items))
	for i, item := range r.Items {
		items[i] = persist.RestoreItem{Source: string(item.Source), Target: string(item.Target)}
	}
	return persist.Restore(ctx, persist.Restoration{
		Sysroot: d.sysroot, From: string(r.From), Items: items, DryRun: r.DryRun,
		Progress: func(entries uint64) {
			if now := time.Now(); now.Sub(told) >= newsEvery {
				told = now
				news(RestoreNews{Entries: entries})
			}
		},
	}, func(r persist.RestoreResult) { news(RestoreNews{Result: showRestored(r)}) })
}

func showRestored(r persist.RestoreResult) *dbus.RestoreResult {
	shown := &dbus.RestoreResult{
		Path: dbus.Bytes(r.Source), Target: dbus.Bytes(r.Target), Action: string(r.Action), Aside: dbus.Bytes(r.Aside),
		Entries: r.Entries, Bytes: r.Bytes,
	}
	if r.Err != nil {
		info := errorInfo(r.Err)
		shown.Error = &info
	}
	return shown
}

// unitRestorer starts a service and speaks with it through a socket that only root can open: it gets the request, sends
// news, and ends when the socket is closed.
type unitRestorer struct {
	runDir string
	start  func(ctx context.Context, unit string) (how string, err error)
}

// message is a line of what the service sends. The last one has the end.
type message struct {
	RestoreNews
	End   bool            `json:"end,omitempty"`
	Error *dbus.ErrorInfo `json:"error,omitempty"` // of the whole
}

func (u unitRestorer) Restore(ctx context.Context, r RestoreRequest, news func(RestoreNews)) error {
	if strings.HasPrefix(string(r.From), "/proc/") {
		return named(dbus.ErrNotSupported, "the top level is not mounted where another process sees it: see systemctl status impermanence-top.service")
	}
	listener, name, err := u.listen()
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = listener.Close() }() // its file is gone with it
	unit := fmt.Sprintf(RestoreUnit, name)
	ended := make(chan error, 1)
	go func() {
		how, err := u.start(context.WithoutCancel(ctx), unit)
		if err == nil {
			err = named(dbus.ErrInternal, "%s ended as %q before it was done: see journalctl -u %s", unit, how, unit)
		}
		_ = listener.Close() // if it did not come, it does not
		ended <- err
	}()
	answer := u.converse(ctx, listener, r, news)
	failed := <-ended // nothing is written any more
	if errors.Is(answer, errNoEnd) {
		return failed
	}
	return answer
}

// listen makes the socket.
func (u unitRestorer) listen() (*net.UnixListener, string, error) {
	dir := filepath.Join(u.runDir, "restore")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", err
	}
	f, err := os.MkdirTemp(dir, "")
	if err != nil {
		return nil, "", err
	}
	if err := os.Remove(f); err != nil { // its name is free now, and root's alone to take
		return nil, "", err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: f, Net: "unix"})
	return listener, filepath.Base(f), err
}

// errNoEnd is about a service that was not done.
var errNoEnd = errors.New("the service ended early")

// converse sends the request to the service that comes and passes on what it tells. When ctx ends it hangs up, once the
// request is sent: the service ends then, says that it was canceled, and leaves nothing half done.
func (u unitRestorer) converse(ctx context.Context, listener *net.UnixListener, r RestoreRequest, news func(RestoreNews)) error {
	conn, err := listener.Accept()
	if err != nil {
		return errNoEnd
	}
	defer func() { _ = conn.Close() }()
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return errNoEnd
	}
	defer context.AfterFunc(ctx, func() { _ = conn.(*net.UnixConn).CloseWrite() })()
	for in := json.NewDecoder(conn); ; {
		var m message
		if err := in.Decode(&m); err != nil {
			return errNoEnd
		}
		switch {
		case m.End && ctx.Err() != nil:
			return ctx.Err()
		case m.End && m.Error != nil:
			return m.Error.Err()
		case m.End:
			return nil
		}
		news(m.RestoreNews)
	}
}

// RestoreFor is the service: it restores what the daemon asks for through the socket of this name, below runDir.
func RestoreFor(ctx context.Context, runDir, name, sysroot string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(runDir, "restore", filepath.Base(name)))
	if err != nil {
		return fmt.Errorf("reach the daemon: %w", err)
	}
	defer func() { _ = conn.Close() }()
	in := json.NewDecoder(conn)
	var r RestoreRequest
	if err := in.Decode(&r); err != nil {
		return fmt.Errorf("read what is asked for: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the daemon says nothing more: what ends is the conversation
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	}()
	buffer := bufio.NewWriter(conn)
	out := json.NewEncoder(buffer)
	tell := func(m message) error { return errors.Join(out.Encode(m), buffer.Flush()) }
	err = directRestorer{sysroot}.Restore(ctx, r, func(n RestoreNews) {
		if tell(message{RestoreNews: n}) != nil {
			cancel() // the daemon is gone
		}
	})
	end := message{End: true}
	if err != nil {
		info := errorInfo(err)
		end.Error = &info
	}
	return tell(end)
}
