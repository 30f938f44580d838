package main

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed scripts/rollover.sh
var rolloverScript string

const (
	day     = 24 * time.Hour
	expired = 40 * day
	recent  = 5 * day
)

// rolloverRows are what happens before the root is mounted.
func rolloverRows(s *stage) []row {
	all := []contender{
		{"impermanence-initrd rollover", s.ourRollover},
		{"shell script", s.scriptRollover},
		{"limit: mount and umount", s.bare("mount")},
		{"limit: and the calls of a rollover", s.bare("rollover")},
	}
	return []row{
		{name: "rollover, nothing to prune", fill: layout, contenders: all},
		{name: "rollover, 200,000 files in the root", fill: func(top string) error {
			if err := layout(top); err != nil {
				return err
			}
			return manyFiles(filepath.Join(top, "root"), 200_000)
		}, contenders: all},
		{name: "rollover, 10,000 old roots present", fill: withOldRoots(recent, 10_000, 0), contenders: all},
		{name: "boot with 10 old roots × 10 nested to expire", fill: withOldRoots(expired, 10, 10), contenders: all},
		{name: "boot with 100 old roots × 100 nested to expire", long: true, fill: withOldRoots(expired, 100, 100), contenders: all},
	}
}

func withOldRoots(age time.Duration, count, nested int) func(string) error {
	return func(top string) error {
		if err := layout(top); err != nil {
			return err
		}
		_, err := oldRoots(top, age, count, nested)
		return err
	}
}

const rolloverConfig = `[ephemeral."/"]
[retention]
keepWithin = "30d"
`

func (s *stage) ourRollover(ctx context.Context, d *disk) (*exec.Cmd, error) {
	config, err := d.config(rolloverConfig)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, filepath.Join(s.bin, "impermanence-initrd"), "rollover",
		"--config="+config, "--device="+d.device, "--run-dir="+s.path("run"), "--cmdline=quiet"), nil
}

func (s *stage) scriptRollover(ctx context.Context, d *disk) (*exec.Cmd, error) {
	dir := s.path("top")
	return exec.CommandContext(ctx, "bash", "-c", rolloverScript, "rollover", d.device, dir), os.Mkdir(dir, 0o755)
}

// bare does a work of limit on the device.
func (s *stage) bare(work string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		dir := s.path("top")
		return exec.CommandContext(ctx, s.self, "limit", work, d.device, dir), os.Mkdir(dir, 0o755)
	}
}
