package daemon_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
)

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	log, control, err := daemon.NewLog(&out, "warning")
	must(t, err)
	var _ dbus.LogControl = control
	log.Info("unheard")
	log.Warn("heard", zap.Error(errors.New("no space")))
	must(t, control.SetLogLevel("debug"))
	log.Debug("heard too")
	if got := out.String(); strings.Contains(got, "unheard") || !strings.Contains(got, "no space") || !strings.Contains(got, "heard too") {
		t.Errorf("logged: %s", got)
	}
	for _, level := range []string{"emerg", "alert", "crit", "err", "warning", "info", "debug"} {
		must(t, control.SetLogLevel(level))
		if got := control.LogLevel(); got != level {
			t.Errorf("level %q, want %q", got, level)
		}
	}
	must(t, control.SetLogLevel("notice")) // the journal knows it, the logger says info
	wantError(t, "an unknown level", control.SetLogLevel("loud"), dbus.ErrInvalidArgs)
	must(t, control.SetLogTarget(control.LogTarget()))
	wantError(t, "another target", control.SetLogTarget("kmsg"), dbus.ErrInvalidArgs)
	if _, _, err := daemon.NewLog(&out, "loud"); !errors.Is(err, dbus.ErrInvalidArgs) {
		t.Errorf("a log that starts with an unknown level: %v", err)
	}
}
