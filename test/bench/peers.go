package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// snapperDelete has count snapshots where snapper keeps them.
func (s *stage) snapperDelete(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		fill, err := s.again(d)
		if err != nil {
			return nil, err
		}
		if err := snapperSnapshots(fill.top, count); err != nil {
			return nil, err
		}
		if err := fill.done(); err != nil {
			return nil, err
		}
		top, err := d.mount("subvolid=5")
		if err != nil {
			return nil, err
		}
		if err := d.snapperConfig(top); err != nil {
			return nil, err
		}
		which := "1"
		if count > 1 {
			which = fmt.Sprintf("1-%d", count)
		}
		return exec.CommandContext(ctx, "snapper", "--no-dbus", "--config=bench", "delete", which), nil
	}
}

func snapperSnapshots(top string, count int) error {
	snapshots := filepath.Join(top, ".snapshots")
	if err := subvolume(snapshots); err != nil {
		return err
	}
	for n := range count {
		dir := filepath.Join(snapshots, fmt.Sprint(n+1))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		info := fmt.Sprintf("<?xml version=\"1.0\"?>\n<snapshot><type>single</type><num>%d</num><date>%s</date></snapshot>\n",
			n+1, time.Now().Add(-expired).UTC().Format(time.DateTime))
		if err := os.WriteFile(filepath.Join(dir, "info.xml"), []byte(info), 0o644); err != nil {
			return err
		}
		if err := snapshot(filepath.Join(top, "root"), filepath.Join(dir, "snapshot")); err != nil {
			return err
		}
	}
	return nil
}

// snapperConfig makes the one configuration that snapper sees, while the disk is there.
func (d *disk) snapperConfig(top string) error {
	if err := unix.Mount("bench", "/etc/snapper/configs", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount a tmpfs at /etc/snapper/configs: %w", err)
	}
	d.undo = append(d.undo, func() { _ = unix.Unmount("/etc/snapper/configs", unix.MNT_DETACH) })
	text := fmt.Sprintf("SUBVOLUME=%q\nFSTYPE=\"btrfs\"\nBACKGROUND_COMPARISON=\"no\"\n", top)
	if err := os.WriteFile("/etc/snapper/configs/bench", []byte(text), 0o644); err != nil {
		return err
	}
	list := d.stage.path("snapper")
	if err := os.WriteFile(list, []byte("SNAPPER_CONFIGS=\"bench\"\n"), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(list, "/etc/default/snapper", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind /etc/default/snapper: %w", err)
	}
	d.undo = append(d.undo, func() { _ = unix.Unmount("/etc/default/snapper", unix.MNT_DETACH) })
	return nil
}

// btrbkPrune has count snapshots named as btrbk names them, of which it keeps the latest.
func (s *stage) btrbkPrune(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		now := time.Now().Add(-expired)
		name := func(n int) string { return now.Add(-time.Duration(n) * time.Minute).Format("root.20060102T1504") }
		top, _, err := d.withExpired(count+1, name)
		if err != nil {
			return nil, err
		}
		config, err := d.config(fmt.Sprintf("timestamp_format long\nsnapshot_preserve_min latest\nsnapshot_preserve no\n"+
			"volume %s\n  snapshot_dir old_roots\n  subvolume root\n", top))
		return exec.CommandContext(ctx, "btrbk", "--quiet", "--config="+config, "prune"), err
	}
}
