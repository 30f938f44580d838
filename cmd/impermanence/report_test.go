package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// secrets are what a machine below has, and a report has not.
var secrets = []string{
	"tellerstrasse", "alice", "bobby", "my divorce", "hunter2", "letmein", "s3cr3t",
	"01234567-89ab-cdef-0123-456789abcdef", "4c0ffee0d15c4cafa0ddba11deadbeef", "00:16:3e:12:34:56", "192.0.2.17",
	"alice@example.org", "vault-of-alice", "EXAMPLE-CORP",
}

// withSecrets is a system whose files are full of secrets.
func withSecrets(t *testing.T) string {
	t.Helper()
	system := t.TempDir()
	for path, text := range map[string]string{
		"proc/sys/kernel/hostname":  "tellerstrasse\n",
		"proc/sys/kernel/osrelease": "6.18.0\n",
		"etc/os-release":            "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"proc/cmdline": "root=LABEL=EXAMPLE-CORP rootflags=subvol=root rw impermanence=keep impermanence.root=20261123T075400Z-257 " +
			"rd.luks.key=/keys/s3cr3t systemd.set_credential=passwd.hashed-password.root:hunter2 init=/bin/letmein\n",
		"proc/self/mountinfo": "24 1 0:22 /root / rw,noatime shared:1 - btrfs /dev/mapper/vault-of-alice rw,subvolid=256,subvol=/root\n" +
			"25 1 0:23 / /mnt rw - cifs //192.0.2.17/x rw,username=alice,password=hunter2\n",
	} {
		path = filepath.Join(system, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return system
}

// A report has what is needed and none of the secrets, wherever they stand.
func TestReportKeepsSecrets(t *testing.T) {
	s := &scripted{
		manager: dbus.Manager{
			Version: "1.2.3", Filesystem: "01234567-89ab-cdef-0123-456789abcdef",
			ConfigurationErrors: []string{"/home/alice/impermanence.toml:3: no such key"},
			LastRollover: map[string]any{
				"outcome": "failed", "error": "mount /dev/disk/by-uuid/01234567-89ab-cdef-0123-456789abcdef on tellerstrasse: busy",
				"bootID": "4c0ffee0d15c4cafa0ddba11deadbeef",
			},
		},
		roots: []dbus.Root{{ID: 256, Name: "20261101T080000Z-256", Kind: "snapshot", Label: "my divorce", ProtectReasons: []string{"pinned"}}},
		entries: []dbus.Entry{
			{
				Target: "/home/alice/.ssh", Source: "/persist/home/alice/.ssh", User: "alice", Group: "bobby", Method: "bind", State: "failed",
				LastError: dbus.ErrorInfo{Name: "x", Message: "/home/alice/.ssh: alice@example.org, 00:16:3e:12:34:56 and my divorce are in the way of bobby"},
			},
		},
	}
	a, _ := newApp(t, serve(t, s), "report")
	var text strings.Builder
	for _, part := range a.collect(t.Context(), withSecrets(t)) {
		text.WriteString("## " + part.Title + "\n" + part.Text + "\n")
	}
	for _, secret := range secrets {
		if strings.Contains(text.String(), secret) {
			t.Errorf("the report tells %q", secret)
		}
	}
	for _, needed := range []string{
		"daemon        1.2.3", "kernel        6.18.0", "Debian GNU/Linux 12 (bookworm)",
		"root=LABEL=NAME-1 rootflags=subvol=root rw impermanence=keep impermanence.root=20261123T075400Z-257\n",
		"24 1 0:22 /root / rw,noatime", "the rollover failed", "20261101T080000Z-256\t256\tsnapshot\tpinned",
		"/home/USER-AT-1/.ssh\t/persist/home/USER-AT-1/.ssh\tbind\tfailed\t", "impermanence.toml:3: no such key",
	} {
		if !strings.Contains(text.String(), needed) {
			t.Errorf("the report does not tell %q", needed)
		}
	}
	if t.Failed() {
		t.Log(text.String())
	}
}

// Without a daemon a report still has what can be had.
func TestReportWithoutADaemon(t *testing.T) {
	a, _ := newApp(t, "unix:path=/nowhere", "report")
	a.direct.device = "/dev/null" // nor by one of its own
	report := a.collect(t.Context(), withSecrets(t))
	var titles []string
	for _, part := range report {
		titles = append(titles, part.Title)
	}
	if diff := cmp.Diff([]string{"Versions", "Kernel command line, as far as it is read", "btrfs mounts", "Units", "Journal of this boot"}, titles); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(report[0].Text, "daemon        not known: connect to bus") {
		t.Error(report[0].Text)
	}
}

func TestScrubberNamesTheSameAlike(t *testing.T) {
	s := newScrubber("box", nil)
	got := s.text("/home/a/x /home/b /home/a; box box: 11111111-2222-3333-4444-555555555555 11111111-2222-3333-4444-555555555556 11111111-2222-3333-4444-555555555555")
	if diff := cmp.Diff("/home/USER-AT-1/x /home/USER-AT-2 /home/USER-AT-1; HOST HOST: UUID-1 UUID-2 UUID-1", got); diff != "" {
		t.Error(diff)
	}
}
