package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Mounted mounts a subvolume of a btrfs in a directory of its own for as long as f runs; which is "subvol=PATH" or "subvolid=ID". What
// f leaves mounted in it goes too.
func Mounted(ctx context.Context, device, which string, f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "impermanence-")
	if err != nil {
		return fmt.Errorf("mount %s: %w", which, err)
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	return MountedAt(ctx, device, which, dir, f)
}

// MountedAt mounts it at a directory that is there.
func MountedAt(ctx context.Context, device, which, dir string, f func(dir string) error) (err error) {
	if err := command(ctx, "mount", "-t", "btrfs", "-o", "noatime,"+which, device, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, command(context.WithoutCancel(ctx), "umount", "--recursive", dir)) }()
	return f(dir)
}

// command runs a program whose output is told when it fails.
func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
