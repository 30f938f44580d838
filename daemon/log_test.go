package daemon_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
)

// stringer is a value that says itself what it is called.
type stringer string

func (s stringer) String() string { return string(s) }

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	log, err := daemon.NewLog(&out, "warning")
	must(t, err)
	var _ dbus.LogControl = log
	log.Infow("unheard")
	log.Warnw("heard", "error", errors.New("no space"))
	must(t, log.SetLogLevel("debug"))
	log.Debugw("heard too", "task", stringer("looks"), "count", 3, "error", nil)
	var got []string
	for line := range strings.Lines(out.String()) {
		_, line, _ = strings.Cut(line, "\t") // without the time
		got = append(got, line)
	}
	want := []string{
		"WARN\theard\t" + `{"error": "no space"}` + "\n",
		"DEBUG\theard too\t" + `{"task": "looks", "count": 3}` + "\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	for _, level := range []string{"emerg", "alert", "crit", "err", "warning", "info", "debug"} {
		must(t, log.SetLogLevel(level))
		if got := log.LogLevel(); got != level {
			t.Errorf("level %q, want %q", got, level)
		}
	}
	must(t, log.SetLogLevel("notice")) // the journal knows it, the logger says info
	wantError(t, "an unknown level", log.SetLogLevel("loud"), dbus.ErrInvalidArgs)
	must(t, log.SetLogTarget(log.LogTarget()))
	wantError(t, "another target", log.SetLogTarget("kmsg"), dbus.ErrInvalidArgs)
	if _, err := daemon.NewLog(&out, "loud"); !errors.Is(err, dbus.ErrInvalidArgs) {
		t.Errorf("a log that starts with an unknown level: %v", err)
	}
}
