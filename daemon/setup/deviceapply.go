package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/machine"
)

// ApplyDevice does what a plan says; step is told of each thing before it is done. A passphrase is asked for on in. Interrupted, it may
// be begun again from new facts.
func ApplyDevice(ctx context.Context, p DevicePlan, in io.Reader, out io.Writer, step func(string)) error {
	for _, c := range p.Commands {
		if _, err := exec.LookPath(c.Args[0]); err != nil {
			return fmt.Errorf("nothing was changed: %w: %s", ErrNoProgram, c.Args[0])
		}
	}
	for _, c := range p.Commands {
		if c.IfEmpty != "" {
			found, err := machine.Probe(ctx, c.IfEmpty)
			if err != nil {
				return err
			}
			if found["TYPE"] != "" {
				continue
			}
		}
		step(c.String())
		cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
		if c.Input != "" {
			cmd.Stdin = strings.NewReader(c.Input)
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", c.Args[0], err)
		}
		settle(ctx)
	}
	return p.subvolumes(ctx, step)
}

// settle waits for udev, where there is one. Told that a disk was written to, it has the kernel read the partitions again, for which they go
// away for a moment. Who does not wait finds none (systemd's udev-manager.c, synthesize_change).
func settle(ctx context.Context) {
	_ = exec.CommandContext(ctx, "udevadm", "settle", "--timeout=30").Run() // without udev, or after that time, what comes next tells
}

// subvolumes makes those that are missing on the file system.
func (p DevicePlan) subvolumes(ctx context.Context, step func(string)) (err error) {
	if _, err := os.Stat(p.Filesystem); err != nil {
		return fmt.Errorf("the kernel does not show the new partition (partprobe): %w", err)
	}
	fs, err := btrfsops.OpenDevice(p.Filesystem)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.Close()) }()
	for _, name := range p.Subvolumes {
		step("make subvolume " + name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, _, err := fs.MakeSubvolume(name); err != nil {
			return err
		}
	}
	step("make the directory of the old roots: old_roots")
	return fs.MakeOldRoots(btrfsops.Layout{Root: "root", OldRoots: "old_roots"})
}
