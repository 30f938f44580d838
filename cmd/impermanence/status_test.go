package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// troubled is a machine on which all went wrong that status tells of.
func troubled(now time.Time) *state {
	return &state{
		manager: dbus.Manager{
			ConfigurationErrors: []string{`/etc/impermanence/impermanence.toml:12: retention.keepWithn: there is no such key; did you mean "keepWithin"?`},
			LastPrune:           now.Add(-26 * time.Hour),
			Losses:              dbus.Losses{Count: 12, Bytes: 3_570_000, Looked: now},
		},
		boot: newBoot(map[string]any{
			"outcome": "failed", "mountPoint": "/", "error": `no such template: "root-template"`,
			"failures": []string{`/: no such template: "root-template"`, "/home: no space left on the file system"},
		}),
		next: nextBootDocument{Action: nextRoot, ID: 256, Name: "20261101T080000Z-256"},
		roots: []dbus.Root{
			{ID: 256, Name: "20261101T080000Z-256", Kind: "old", Pinned: true, Size: 3 << 20},
			{ID: 300, Name: "20261102T080000Z-300", Kind: "old", Deleting: true},
			{ID: 301, Name: "20261103T080000Z-301", Kind: "snapshot"},
			{ID: 290, Name: "2024-11-04_10:33:02", Path: "old_roots/2024-11-04_10:33:02", Kind: "old", HeldRoot: "old_roots/2024-11-04_10:33:02/root"},
		},
		entries: []dbus.Entry{
			{Target: "/etc/machine-id", State: inPlace},
			{Target: "/etc/ssh", State: "conflict", LastError: dbus.ErrorInfo{Message: "its place holds something else"}},
			{Target: "/var/log", State: "missing"},
			{Target: "/var/lib/app", State: nextBootState},
			{Target: "/srv/my data", State: "failed", LastError: dbus.ErrorInfo{Message: "/srv/my data: source does not exist"}},
		},
		jobs: []dbus.Job{{Operation: "prune", ItemsDone: 3, ItemsTotal: 10, Stage: "deleting"}},
	}
}

func TestStatusTellsAllOnOneScreen(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	want := `
this boot   former root: the rollover failed
next boot   a copy of 20261101T080000Z-256, once; loses 12 files, 3.4 MiB
            (impermanence diff)
entries     1 in place, 1 at the next boot, 3 not
old roots   3, 1 snapshot, 1 pinned, about 3.0 MiB that only they hold
next prune  nothing to delete
last prune  ` + now.Add(-26*time.Hour).Local().Format("2006-01-02 15:04") + ` (1 day ago)
running     prune, 3 of 10, deleting

wrong       configuration: /etc/impermanence/impermanence.toml:12:
            retention.keepWithn: there is no such key; did you mean
            "keepWithin"?
  try       systemctl reload impermanenced.service

wrong       this boot has no fresh root: no such template: "root-template"
  try       journalctl -b | grep impermanence

wrong       no fresh root at /home: no space left on the file system
  try       journalctl -b | grep impermanence

wrong       /etc/ssh: its place holds something else
  try       sudo mv --backup=numbered --no-target-directory /etc/ssh /etc/ssh.before && sudo impermanence persist /etc/ssh

wrong       /var/log is not in place yet
  try       sudo impermanence persist /var/log

wrong       /srv/my data: source does not exist
  try       sudo impermanence persist '/srv/my data'

wrong       the deletion of 20261102T080000Z-300 has not finished
  try       sudo impermanence prune

wrong       2024-11-04_10:33:02 holds another root, which a script moved into
            it, and which would be deleted with it
  try       sudo mv --no-target-directory /run/impermanence/top/old_roots/2024-11-04_10:33:02/root /run/impermanence/top/old_roots/2024-11-04_10:33:02.held
`
	o, b := terminal(80)
	o.status(troubled(now), now)
	if diff := cmp.Diff(want, "\n"+b.String()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatusOfEachOutcomeOfABoot(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	at := uint64(now.Add(-2 * time.Hour).UnixMicro())
	for _, test := range []struct {
		details map[string]any
		want    []string
		wrong   int
	}{
		{
			map[string]any{"outcome": "fresh", "oldRoot": "old_roots/a", "rolledOverUSec": at, "durationUSec": uint64(5230)},
			[]string{"fresh root, began empty", "rolled over 2026-11-23T06:00:00Z, in 5.23 ms", "the former root is a"},
			0,
		},
		{map[string]any{"outcome": "fresh", "source": "root-template"}, []string{"fresh root, a copy of root-template"}, 0},
		{map[string]any{"outcome": "fresh", "error": "the old root is read-only"}, []string{"fresh root, began empty"}, 1},
		{map[string]any{"outcome": "restored", "source": "old_roots/a"}, []string{"restored root, a copy of a"}, 0},
		{map[string]any{"outcome": "kept", "reason": "asked for"}, []string{"root kept: asked for"}, 0},
		{map[string]any{"outcome": "skipped", "reason": "impermanence=off"}, []string{"rollover skipped: impermanence=off"}, 0},
		{map[string]any{"outcome": "failed", "error": "busy"}, []string{"former root: the rollover failed"}, 1},
		{nil, []string{"not known: the rollover did not run"}, 1},
		{map[string]any{"outcome": 5, "oldRoot": true, "durationUSec": "x"}, []string{"not known: the rollover did not run"}, 1},
	} {
		o, _ := elsewhere()
		b := newBoot(test.details)
		var got []string
		for _, line := range b.lines(o, now) {
			got = append(got, line.text)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", test.details, diff)
		}
		if wrong := b.problems(); len(wrong) != test.wrong {
			t.Errorf("%v: %d problems, want %d: %v", test.details, len(wrong), test.wrong, wrong)
		}
	}
}
