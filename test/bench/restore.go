package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// restoreRows bring back what an old root has and the root does not. Ours ends when all of it is durable, a peer when it is
// written: one of them is measured with a sync too.
func restoreRows(s *stage) []row {
	contenders := []contender{
		{"impermanence restore", s.ourRestore(daemonRuns)},
		{"impermanence restore, starts the daemon", s.ourRestore(daemonRests)},
		{"cp -a --reflink", copyBy("cp", "-a", "--reflink=always")},
		{"cp -a --reflink; sync", copyBy("sh", "-c", `cp -a --reflink=always "$1" "$2" && sync --file-system "$2"`, "sh")},
		{"cp -a", copyBy("cp", "-a", "--reflink=never")},
		{"rsync -aHAX", copyBy("rsync", "-aHAX")},
	}
	return []row{
		{name: "restore a tree of 16,700 entries, 263 MB", fill: oldTree, contenders: contenders},
		{name: "restore one file of 1 GiB", fill: oldFile, contenders: contenders},
	}
}

// lost is what is to be brought back, in an old root, and where to.
const (
	lostFrom = "old_roots/2026-11-23_07:54:00/srv/lost"
	lostTo   = "srv"
)

// lostIn makes an old root, and where what is lost goes to, and returns the path of what is lost.
func lostIn(top string) (string, error) {
	if err := layout(top); err != nil {
		return "", err
	}
	lost := filepath.Join(top, lostFrom)
	if err := subvolume(filepath.Dir(filepath.Dir(lost))); err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(top, lostTo), 0o755); err != nil {
		return "", err
	}
	return lost, os.Mkdir(filepath.Dir(lost), 0o755)
}

// oldTree has 700 directories with 16,000 files, of 16 KiB on average.
func oldTree(top string) error {
	lost, err := lostIn(top)
	if err != nil {
		return err
	}
	const directories, files, average = 700, 16_000, 16_400
	data := bytes.Repeat([]byte("lost"), average/2)
	for n := range files {
		dir := filepath.Join(lost, fmt.Sprint(n%directories))
		if n < directories {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		size := (n * 7919) % (2 * average) // from nothing to twice the average
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), data[:size], 0o644); err != nil {
			return err
		}
	}
	return nil
}

func oldFile(top string) error {
	lost, err := lostIn(top)
	if err != nil {
		return err
	}
	f, err := os.Create(lost)
	if err != nil {
		return err
	}
	defer f.Close()
	data := bytes.Repeat([]byte("lost"), 1<<18)
	for range 1024 {
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	return f.Close()
}

func (s *stage) ourRestore(running bool) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, err := d.mount("subvolid=5")
		if err != nil {
			return nil, err
		}
		environment, err := d.daemon(ctx, top)
		if err != nil {
			return nil, err
		}
		return s.asking(ctx, environment, running, "restore", "newest", "/srv/lost")
	}
}

// copyBy copies with a program, which is given from where and to where.
func copyBy(name string, args ...string) func(context.Context, *disk) (*exec.Cmd, error) {
	return func(ctx context.Context, d *disk) (*exec.Cmd, error) {
		top, err := d.mount("subvolid=5")
		args := append(args[:len(args):len(args)], filepath.Join(top, lostFrom), filepath.Join(top, lostTo)+"/")
		return exec.CommandContext(ctx, name, args...), err
	}
}
