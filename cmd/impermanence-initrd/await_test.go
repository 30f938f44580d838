package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// onWaiting calls f when something is waited for, and keeps what is logged.
type onWaiting struct {
	log strings.Builder
	f   func()
}

func (w *onWaiting) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "waiting for") {
		w.f()
	}
	return w.log.Write(p)
}

// TestAnotherDiskMayBeLate: the initrd starts the rollover when the root's disk is there.
func TestAnotherDiskMayBeLate(t *testing.T) {
	for name, come := range map[string]bool{"it comes": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			disk, late := btrfstest.NewDevice(t, 0), filepath.Join(m.dir, "disk/by-id/late")
			top := filepath.Join(m.dir, "homes")
			btrfstest.Mount(t, disk, top, "subvolid=5")
			btrfstest.Subvolume(t, filepath.Join(top, "home"))
			m.write(t, "config.toml", configuration+"[ephemeral.\"/home\"]\ndevice = \""+late+"\"\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			waiting := &onWaiting{f: func() {
				if !come {
					stop() // instead of waiting to the end
					return
				}
				if err := os.MkdirAll(filepath.Dir(late), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(disk, late); err != nil {
					t.Fatal(err)
				}
			}}
			code := run(ctx, []string{
				"rollover", "--config", filepath.Join(m.dir, "config.toml"), "--cmdline", "root=" + m.device + " rootflags=subvol=root", "--run-dir", m.dir,
			}, newLogger(waiting, person))
			records, err := btrfsops.ReadBootRecords(filepath.Join(m.dir, btrfsops.BootRecordName))
			if err != nil || len(records) != 2 || !m.fresh(t) || (code == exitDone) != come || (records[1].Report.Former != 0) != come {
				t.Errorf("exit %d, records %+v (%v)\n%s", code, records, err, waiting.log.String())
			}
			if !come && !strings.Contains(records[1].Error, late) {
				t.Errorf("it is told that %s", records[1].Error)
			}
		})
	}
}

// TestASecondStartDoesNotWait: a systemd initrd starts what failed again as it switches to the root.
func TestASecondStartDoesNotWait(t *testing.T) {
	m := newMachine(t)
	m.write(t, "config.toml", configuration+"[ephemeral.\"/home\"]\ndevice = \"/dev/none\"\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n")
	btrfstest.Mount(t, m.device, filepath.Join(m.dir, "sysroot"), "subvol=root")
	log := &onWaiting{f: func() { t.Error("it waits") }}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	code := run(ctx, []string{
		"rollover", "--config", filepath.Join(m.dir, "config.toml"), "--cmdline", "root=" + m.device + " rootflags=subvol=root", "--run-dir", m.dir,
	}, newLogger(log, person))
	if code != exitFailed || !strings.Contains(log.log.String(), "/dev/none") {
		t.Errorf("exit %d\n%s", code, log.log.String())
	}
}
