package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// promtool has Prometheus's own tool judge metrics.
func promtool(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v: %s\n%s", err, out, text)
	}
}

func TestMetrics(t *testing.T) {
	at := time.Date(2026, 11, 23, 7, 54, 0, 500_000_000, time.UTC)
	s := &state{
		manager: dbus.Manager{Version: "1\"2\\3\n4\xff", Filesystem: "f", LastPrune: at, ConfigurationErrors: []string{"a", "b"}},
		boot:    boot{Outcome: "fresh", When: at, Duration: 1500 * time.Millisecond},
		next:    nextBootDocument{Action: nextKeep},
		entries: []dbus.Entry{{State: inPlace}, {State: inPlace}, {State: "conflict", Target: "/x"}},
		roots:   []dbus.Root{{Kind: "old", RolledOver: at, Size: 5, Pinned: true}, {Kind: kindSnapshot, Size: 1 << 40}},
		jobs:    []dbus.Job{{}},
	}
	var got bytes.Buffer
	exposition{&got}.state(s)
	for _, want := range []string{
		"impermanence_up 1\n", `impermanence_info{version="1\"2\\3\n4` + "\ufffd" + `",filesystem="f"} 1` + "\n",
		`impermanence_rollover_outcome{outcome="fresh"} 1` + "\n", `impermanence_rollover_outcome{outcome="failed"} 0` + "\n",
		"impermanence_rollover_timestamp_seconds 1.7954204405e+09\n", "impermanence_rollover_duration_seconds 1.5\n",
		`impermanence_next_boot{action="keep"} 1` + "\n", `impermanence_entries{state="in-place"} 2` + "\n", `impermanence_entries{state="conflict"} 1` + "\n",
		`impermanence_roots{kind="old"} 1` + "\n", "impermanence_roots_pinned 1\n", "impermanence_roots_exclusive_bytes 1.099511627781e+12\n",
		"impermanence_configuration_errors 2\n", "impermanence_jobs_active 1\n", "impermanence_problems 3\n",
	} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q in\n%s", want, got.String())
		}
	}
	promtool(t, got.String())
}

// What isn't known is left out, not told as 0.
func TestMetricsOfNothing(t *testing.T) {
	var got bytes.Buffer
	exposition{&got}.state(&state{})
	for _, never := range []string{"timestamp", "duration"} {
		if strings.Contains(got.String(), never) {
			t.Errorf("%s is told:\n%s", never, got.String())
		}
	}
	if want := `impermanence_rollover_outcome{outcome="unknown"} 1`; !strings.Contains(got.String(), want) {
		t.Errorf("no %s in\n%s", want, got.String())
	}
	promtool(t, got.String())
	got.Reset()
	exposition{&got}.state(nil)
	want := "# HELP impermanence_up Whether the daemon answers.\n# TYPE impermanence_up gauge\nimpermanence_up 0\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
	promtool(t, got.String())
}
