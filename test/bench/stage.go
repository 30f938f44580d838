package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// imageSize is the size of a file system; the files are sparse.
const imageSize = "4G"

// stage is where the bench happens: a tmpfs, so that no disk is measured.
type stage struct {
	dir, bin, self string
	count          int
}

func newStage(bin string) (*stage, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// /mnt is ours alone: make bench gives the bench a mount namespace.
	s := &stage{dir: "/mnt", bin: bin, self: self}
	if err := unix.Mount("bench", s.dir, "tmpfs", 0, "mode=0755"); err != nil {
		return nil, fmt.Errorf("mount a tmpfs at %s: %w", s.dir, err)
	}
	// mount(8) notes options for file managers in a table there. The machine's own is none of our business, and a table
	// that grows with each run would slow the next.
	if err := os.MkdirAll(utabDir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("bench", utabDir, "tmpfs", 0, "mode=0755"); err != nil {
		return nil, fmt.Errorf("mount a tmpfs at %s: %w", utabDir, err)
	}
	return s, nil
}

// utabDir is where libmount keeps its own table of mounts.
const utabDir = "/run/mount"

func (s *stage) close() {
	_ = unix.Unmount(utabDir, unix.MNT_DETACH)
	_ = unix.Unmount(s.dir, unix.MNT_DETACH)
}

// path gives a new path on the stage.
func (s *stage) path(name string) string {
	s.count++
	return filepath.Join(s.dir, fmt.Sprintf("%d-%s", s.count, name))
}

// image makes a file system and has it filled through its top level.
func (s *stage) image(fill func(top string) error) (string, error) {
	image := s.path("image")
	if err := sh("truncate", "--size="+imageSize, image); err != nil {
		return "", err
	}
	if err := sh("mkfs.btrfs", "--quiet", image); err != nil {
		return "", err
	}
	d, err := s.attach(image)
	if err != nil {
		return "", err
	}
	defer d.close()
	top, err := d.mount("subvolid=5")
	if err != nil {
		return "", err
	}
	return image, fill(top)
}

func (s *stage) drop(image string) { _ = os.Remove(image) }

// disk is a loop device over a file system.
type disk struct {
	stage  *stage
	device string
	undo   []func()
}

// copyOf attaches a fresh copy of an image; the copy goes with the disk.
func (s *stage) copyOf(image string) (*disk, error) {
	fresh := s.path("copy")
	if err := sh("cp", "--sparse=always", image, fresh); err != nil {
		return nil, err
	}
	d, err := s.attach(fresh)
	if err != nil {
		return nil, err
	}
	d.undo = append([]func(){func() { s.drop(fresh) }}, d.undo...)
	return d, nil
}

// attach makes a loop device that is gone when the last who has it open is, so that no way to end leaves it behind.
func (s *stage) attach(image string) (*disk, error) {
	device, err := output("losetup", "--find", "--show", image)
	if err != nil {
		return nil, err
	}
	held, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	d := &disk{stage: s, device: device, undo: []func(){func() {
		_ = held.Close()
		awaitDetached(device)
	}}}
	return d, sh("losetup", "--detach", device)
}

// awaitDetached waits until nobody holds a loop device: the copies have one UUID, and while one is in use, by a daemon that
// is about to end, the kernel takes the next for the same file system.
func awaitDetached(device string) {
	backing := filepath.Join("/sys/block", filepath.Base(device), "loop")
	for range 10_000 {
		if _, err := os.Stat(backing); err != nil {
			return
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // sysfs tells nobody
	}
}

// mount mounts the file system at a new place until the disk is closed.
func (d *disk) mount(options string) (string, error) {
	dir := d.stage.path("mount")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount(d.device, dir, "btrfs", unix.MS_NOATIME, options); err != nil {
		return "", fmt.Errorf("mount %s: %w", d.device, err)
	}
	d.undo = append(d.undo, func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, nil
}

// filling is a mount of a disk that is given more before the work begins.
type filling struct{ top string }

func (s *stage) again(d *disk) (filling, error) {
	dir := s.path("fill")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return filling{}, err
	}
	return filling{dir}, unix.Mount(d.device, dir, "btrfs", unix.MS_NOATIME, "subvolid=5")
}

// done writes all of it out; the next mount starts with nothing cached.
func (f filling) done() error { return unix.Unmount(f.top, 0) }

// close undoes all that was done, the last first.
func (d *disk) close() {
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
}

// config writes a configuration and returns its path.
func (d *disk) config(text string) (string, error) {
	path := d.stage.path("config.toml")
	return path, os.WriteFile(path, []byte(text), 0o644)
}

func sh(name string, args ...string) error {
	_, err := output(name, args...)
	return err
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
