package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
)

// manager is the service manager's end of the notify socket.
type manager struct {
	conn *net.UnixConn
	seen []string
}

// listen makes a notify socket and says where it is, as a service manager does.
func listen(t testing.TB) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{conn: conn}
}

// until reads what the daemon says up to a line that starts with prefix, and returns that line.
func (m *manager) until(t testing.TB, prefix string) string {
	t.Helper()
	buffer := make([]byte, 4096)
	must(t, m.conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	for {
		n, err := m.conn.Read(buffer)
		if err != nil {
			t.Fatalf("waiting for %q: %v; so far: %q", prefix, err, m.seen)
		}
		lines := strings.Split(string(buffer[:n]), "\n")
		m.seen = append(m.seen, lines...)
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) }); i >= 0 {
			return lines[i]
		}
	}
}

// task is a server that a test makes ready, and asks how it was treated.
type task struct {
	ready  chan struct{}
	fail   chan error
	ending chan struct{}
	ping   func() error
}

func newTask() *task {
	return &task{make(chan struct{}), make(chan error, 1), make(chan struct{}), func() error { return nil }}
}

func (s *task) Run(ctx context.Context) error {
	select {
	case err := <-s.fail:
		return err
	case <-ctx.Done():
		close(s.ending)
		return nil
	}
}

func (s *task) Ready() <-chan struct{}     { return s.ready }
func (s *task) String() string             { return "task" }
func (s *task) Ping(context.Context) error { return s.ping() }

// supervise runs d and returns what stops it, and where its end is told.
func supervise(t *testing.T, d *daemon.Daemon, reload chan os.Signal, tasks ...daemon.Task) (stop func(), ended chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- d.Supervise(ctx, reload, tasks...) }()
	return stop, ended
}

// The service manager hears of readiness when every task is ready, of jobs while they run, of the end before anything ends.
func TestWhatTheServiceManagerHears(t *testing.T) {
	systemd := listen(t)
	m := newMachine(t)
	m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	g := newGate()
	d := m.start(t, func(o *daemon.Options) { o.Now, o.Notify = g.now, daemon.NewNotifier(m.log) })
	first, second := newTask(), newTask()
	reload := make(chan os.Signal, 1)
	stop, ended := supervise(t, d, reload, first, second)
	close(second.ready)
	close(first.ready)
	systemd.until(t, "READY=1")
	if diff := cmp.Diff([]string{"READY=1", "STATUS=Idle"}, systemd.seen); diff != "" {
		t.Errorf("heard first: %s", diff)
	}

	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
	must(t, err)
	if line := systemd.until(t, "STATUS=job"); line != fmt.Sprintf("STATUS=job %d: prune", id) {
		t.Error(line)
	}
	<-g.reached
	close(g.open)
	systemd.until(t, "STATUS=Idle")

	reload <- syscall.SIGHUP
	systemd.until(t, "RELOADING=1")
	if !strings.HasPrefix(systemd.seen[len(systemd.seen)-1], "MONOTONIC_USEC=") {
		t.Errorf("reloading without the time: %q", systemd.seen)
	}
	systemd.until(t, "READY=1")

	stop()
	systemd.until(t, "STOPPING=1")
	<-first.ending
	must(t, <-ended)
}

// Who is about to ask for the time holds nobody up.
func TestTheClockIsAskedWithoutHoldingAnything(t *testing.T) {
	g := newGate()
	d := newMachine(t).start(t, func(o *daemon.Options) { o.Now = g.now })
	s := newTask()
	close(s.ready)
	stop, ended := supervise(t, d, nil, s)
	<-g.reached // by the search for losses: no job runs
	if got := d.Manager().Version; got != "test" {
		t.Errorf("the version is %q", got)
	}
	close(g.open)
	stop()
	must(t, <-ended)
}

// A job that can't be canceled is finished before the daemon ends, though its clients are gone; one that can is canceled.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	m := newMachine(t)
	g := newGate()
	d := m.start(t, func(o *daemon.Options) { o.Now = g.now })
	s := newTask()
	close(s.ready)
	stop, ended := supervise(t, d, nil, s)
	id, err := d.CreateSnapshot(t.Context(), anybody, "")
	must(t, err)
	<-g.reached
	stop()
	<-s.ending
	select {
	case err := <-ended:
		t.Fatalf("ended before the job: %v", err)
	default:
	}
	close(g.open)
	must(t, <-ended)
	if job := finish(t, d, id, nil); job.Result != dbus.ResultDone || len(m.rolledOver(t)) != 1 {
		t.Errorf("ended as %+v with %v", job, m.rolledOver(t))
	}
	_, err = d.CreateSnapshot(t.Context(), anybody, "")
	wantError(t, "a job for a daemon that has stopped", err, dbus.ErrBusy)
}

func TestATaskThatFailsEndsTheDaemon(t *testing.T) {
	d := newMachine(t).start(t)
	s := newTask()
	_, ended := supervise(t, d, nil, s)
	lost := errors.New("connection lost")
	s.fail <- lost
	if err := <-ended; !errors.Is(err, lost) || !strings.HasPrefix(err.Error(), "task: ") {
		t.Errorf("ended with %v", err)
	}
}

// The watchdog is fed while the tasks answer, and starves when one does not.
func TestWatchdog(t *testing.T) {
	systemd := listen(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	m := newMachine(t)
	d := m.start(t, func(o *daemon.Options) { o.Notify = daemon.NewNotifier(m.log) })
	s := newTask()
	asked, answers := make(chan struct{}), make(chan error)
	s.ping = func() error { asked <- struct{}{}; return <-answers }
	close(s.ready)
	stop, ended := supervise(t, d, nil, s)
	systemd.until(t, "READY=1")
	<-asked
	answers <- nil
	systemd.until(t, "WATCHDOG=1")
	before := len(systemd.seen)
	<-asked
	answers <- errors.New("no answer")
	<-asked // the next tick: the one before was not fed
	answers <- nil
	systemd.until(t, "WATCHDOG=1")
	if fed := systemd.seen[before:]; len(fed) != 1 {
		t.Errorf("fed without an answer: %q", fed)
	}
	stop()
	go func() {
		for range asked {
			answers <- nil
		}
	}()
	must(t, <-ended)
}

// The watchdog is fed while the first look takes its time.
func TestWatchdogOfALongLook(t *testing.T) {
	systemd := listen(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	m := newMachine(t)
	record := filepath.Join(m.runDir, "boot.json")
	must(t, syscall.Mkfifo(record, 0o600)) // it is read when somebody has written
	d := m.start(t, func(o *daemon.Options) { o.Notify = daemon.NewNotifier(m.log) })
	s := newTask()
	close(s.ready)
	stop, ended := supervise(t, d, nil, s)
	writer, err := os.OpenFile(record, os.O_WRONLY, 0) // when it is looked at
	must(t, err)
	systemd.until(t, "READY=1")
	systemd.until(t, "WATCHDOG=1")
	must(t, writer.Close())
	stop()
	must(t, <-ended)
}
