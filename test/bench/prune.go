package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

//go:embed scripts/prune.sh
var pruneScript string

// pruneRows delete count expired old roots, each a snapshot of the root.
func pruneRows(s *stage) []row {
	var all []row
	for _, count := range []int{1, 10, 100, 1000} {
		contenders := []contender{
			{"impermanence prune", s.ourPrune(count, daemonRuns)},
			{"impermanence prune, starts the daemon", s.ourPrune(count, daemonRests)},
			{"btrfs subvolume delete", s.btrfsDelete(count)},
			{"limit: the ioctl in a loop", s.bareDestroy(count)},
			{"snapper delete", s.snapperDelete(count)},
			{"btrbk prune", s.btrbkPrune(count)},
			{"shell script", s.scriptPrune(count)},
		}
		all = append(all, row{
			name: fmt.Sprintf("prune %d old roots, time to return", count), long: count == 1000,
			fill: pristine, contenders: contenders,
		})
	}
	return append(all, cleanedRow(s, false), cleanedRow(s, true))
}

// cleanedRow is to the end: the space is free. By itself the kernel commits, and begins to clean, after 30 seconds; who asks
// for a commit doesn't wait for that.
func cleanedRow(s *stage, long bool) row {
	r := row{name: "prune 100 old roots, and cleaned", fill: pristine, contenders: []contender{
		{"impermanence prune --wait", s.ourPrune(100, daemonRuns, "--wait")},
		{"impermanence prune, time to return", s.ourPrune(100, daemonRuns)},
		{"btrfs subvolume delete -c; sync", s.btrfsDeleteAndSync(100, "--commit-after")},
	}}
	if long {
		r.name, r.long = "prune 100 old roots, and cleaned, no commit asked for", true
		r.contenders[2] = contender{"btrfs subvolume delete; sync", s.btrfsDeleteAndSync(100)}
	}
	return r
}

// pristine has a root with a little in it, for the old roots to be snapshots of.
func pristine(top string) error {
	if err := layout(top); err != nil {
		return err
	}
	return manyFiles(filepath.Join(top, "root"), 500)
}

// withExpired gives the disk count expired old roots, committed and out of the cache, and mounts the top level.
func (d *disk) withExpired(count int, name func(n int) string) (top string, names []string, err error) {
	fill, err := d.stage.again(d)
	if err != nil {
		return "", nil, err
	}
	for n := range count {
		names = append(names, name(n))
		path := filepath.Join(fill.top, "old_roots", name(n))
		if err := snapshot(filepath.Join(fill.top, "root"), path); err != nil {
			return "", nil, err
		}
		then := time.Now().Add(-expired - time.Duration(n)*time.Minute)
		if err := os.Chtimes(path, then, then); err != nil {
			return "", nil, err
		}
	}
	if err := fill.done(); err != nil {
		return "", nil, err
	}
	top, err = d.mount("subvolid=5")
	return top, names, err
}

func expiredName(n int) string { return oldName(expired, n) }

// ourPrune has a bus of its own; the work is the command that asks the daemon on it.
func (s *stage) ourPrune(count int, running bool, args ...string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, _, err := d.withExpired(count, expiredName)
		if err != nil {
			return nil, err
		}
		// A recent one is the newest, relative to which the others are old.
		if err := snapshot(filepath.Join(top, "root"), filepath.Join(top, "old_roots", oldName(recent, 0))); err != nil {
			return nil, err
		}
		environment, err := d.daemon(ctx, top)
		if err != nil {
			return nil, err
		}
		return s.asking(ctx, environment, running, append([]string{"prune"}, args...)...)
	}
}

func (s *stage) scriptPrune(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, _, err := d.withExpired(count, expiredName)
		return exec.CommandContext(ctx, "bash", "-c", pruneScript, "prune", top), err
	}
}

func (s *stage) btrfsDelete(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, names, err := d.withExpired(count, expiredName)
		cmd := exec.CommandContext(ctx, "btrfs", append([]string{"subvolume", "delete"}, names...)...)
		cmd.Dir = filepath.Join(top, "old_roots")
		return cmd, err
	}
}

func (s *stage) btrfsDeleteAndSync(count int, options ...string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, names, err := d.withExpired(count, expiredName)
		const both = `btrfs subvolume delete "$@" && btrfs subvolume sync .`
		cmd := exec.CommandContext(ctx, "bash", slices.Concat([]string{"-c", both, "delete"}, options, names)...)
		cmd.Dir = filepath.Join(top, "old_roots")
		return cmd, err
	}
}

func (s *stage) bareDestroy(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, names, err := d.withExpired(count, expiredName)
		args := append([]string{"limit", "destroy", filepath.Join(top, "old_roots")}, names...)
		return exec.CommandContext(ctx, s.self, args...), err
	}
}
