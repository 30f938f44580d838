package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed scripts/entries.sh
var entriesScript string

// entryRows put directories of a persistent volume in place on a fresh root.
func entryRows(s *stage) []row {
	var all []row
	for _, count := range []int{10, 100, 1000} {
		all = append(all, row{
			name: fmt.Sprintf("%d directories in place", count),
			fill: withSources(count),
			contenders: []contender{
				{"impermanence-initrd persist", s.ourEntries(count)},
				{"mount --all --fstab, targets made", s.fstabEntries(count)},
				{"limit: mkdir and mount in a loop", s.bareBind(count)},
				{"a module's scripts", s.scriptEntries(count)},
			},
		})
	}
	return all
}

func entryName(n int) string { return fmt.Sprintf("d%04d", n) }

// withSources has an empty root and a volume with count directories in srv.
func withSources(count int) func(top string) error {
	return func(top string) error {
		if err := layout(top); err != nil {
			return err
		}
		volume := filepath.Join(top, "persist")
		if err := subvolume(volume); err != nil {
			return err
		}
		for n := range count {
			if err := os.MkdirAll(filepath.Join(volume, "srv", entryName(n)), 0o755); err != nil {
				return err
			}
		}
		return nil
	}
}

// booted mounts the root, and the volume in it.
func (d *disk) booted(more ...string) (root string, err error) {
	root, err = d.mount("subvol=root")
	if err != nil {
		return "", err
	}
	for _, dir := range append([]string{"persist"}, more...) {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
	}
	return root, sh("mount", "-o", "noatime,subvol=persist", d.device, filepath.Join(root, "persist"))
}

func (s *stage) ourEntries(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		root, err := d.booted()
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		text.WriteString("[persistence.\"/persist\"]\nhideMounts = true\ndirectories = [\n")
		for n := range count {
			fmt.Fprintf(&text, "  %q,\n", "/srv/"+entryName(n))
		}
		text.WriteString("]\n")
		config, err := d.config(text.String())
		return exec.CommandContext(ctx, filepath.Join(s.bin, "impermanence-initrd"), "persist",
			"--config="+config, "--sysroot="+root, "--run-dir="+s.path("run"), "--cmdline=quiet"), err
	}
}

func (s *stage) scriptEntries(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		root, err := d.booted()
		args := []string{"-c", entriesScript, "entries", filepath.Join(root, "persist"), root}
		for n := range count {
			args = append(args, "/srv/"+entryName(n))
		}
		return exec.CommandContext(ctx, "bash", args...), err
	}
}

func (s *stage) fstabEntries(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		root, err := d.booted("srv")
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		for n := range count {
			target := filepath.Join(root, "srv", entryName(n))
			if err := os.Mkdir(target, 0o755); err != nil {
				return nil, err
			}
			fmt.Fprintf(&text, "%s %s none bind,x-gvfs-hide 0 0\n", filepath.Join(root, "persist/srv", entryName(n)), target)
		}
		fstab, err := d.config(text.String())
		return exec.CommandContext(ctx, "mount", "--all", "--fstab", fstab), err
	}
}

func (s *stage) bareBind(count int) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		root, err := d.booted("srv")
		return exec.CommandContext(ctx, s.self, "limit", "bind",
			filepath.Join(root, "persist/srv"), filepath.Join(root, "srv"), fmt.Sprint(count)), err
	}
}
