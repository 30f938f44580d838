package daemon

import (
	"fmt"
	"strings"
	"sync"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"

	"github.com/impermanence/impermanence/daemon/jobs"
	"github.com/impermanence/impermanence/dbus"
)

// Notifier tells the service manager a state, as sd_notify(3) writes it.
type Notifier func(state string)

// NewNotifier returns the notifier for the service manager that started this process; it does nothing when none did.
func NewNotifier(log dbus.Log) Notifier {
	return func(state string) {
		if _, err := sdnotify.SdNotify(false, state); err != nil {
			log.Warnw("tell the service manager", "state", state, "error", err)
		}
	}
}

// status keeps the service manager's view of the daemon: its states in their order, and the line that systemctl shows.
type status struct {
	notify Notifier

	mu       sync.Mutex
	line     string
	started  bool // READY=1 was sent
	stopping bool
}

// idle is the status line when there is nothing to do.
const idle = "Idle"

func newStatus(notify Notifier) *status { return &status{notify: notify, line: idle} }

// show makes the active jobs the status line.
func (s *status) show(list []jobs.Job) {
	var active []string
	for _, j := range list {
		if j.State != jobs.Done {
			active = append(active, describe(j))
		}
	}
	line := idle
	if len(active) > 0 {
		line = strings.Join(active, "; ")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if line == s.line {
		return
	}
	s.line = line
	if s.started {
		s.notify("STATUS=" + line)
	}
}

// describe names a job in a few words. How far it is stays out: it would be told at every step.
func describe(j jobs.Job) string {
	if j.Stage == "" {
		return fmt.Sprintf("job %d: %s", j.ID, j.Operation)
	}
	return fmt.Sprintf("job %d: %s: %s", j.ID, j.Operation, j.Stage)
}

// ready says that the daemon serves.
func (s *status) ready() {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	s.reloaded()
}

// reloading says that the configuration is being read again. Type=notify-reload needs the time with it.
func (s *status) reloading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started && !s.stopping {
		s.notify(sdnotify.SdNotifyReloading + "\n" + strings.TrimSpace(sdnotify.SdNotifyMonotonicUsec()))
	}
}

// reloaded says that the daemon serves, with the configuration that it has now.
func (s *status) reloaded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started && !s.stopping {
		s.notify(sdnotify.SdNotifyReady + "\nSTATUS=" + s.line)
	}
}

// stop says that the daemon is about to end.
func (s *status) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.notify(sdnotify.SdNotifyStopping)
}
