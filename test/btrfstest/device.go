package btrfstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultSize is the size of a test file system in bytes when none is asked for.
const DefaultSize = 256 << 20

// NewDevice makes a btrfs file system of size bytes (DefaultSize when 0) on a loop device over a sparse file and returns
// the device. Device and file are gone when the test ends. Options are those of mkfs.btrfs(8).
func NewDevice(t testing.TB, size int64, options ...string) string {
	t.Helper()
	image := NewImage(t, size, options...)
	return Attach(t, image)
}

// NewImage makes a sparse file of size bytes (DefaultSize when 0) that holds an empty btrfs file system.
func NewImage(t testing.TB, size int64, options ...string) string {
	t.Helper()
	if size == 0 {
		size = DefaultSize
	}
	image := filepath.Join(t.TempDir(), "btrfs.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	Run(t, "mkfs.btrfs", append(options, "--quiet", image)...)
	return image
}

// Attach makes a loop device of image, and detaches it when the test ends.
//
// The device is detached as soon as it is held open, which makes the kernel do so at its last close: it does not outlive
// the test process, however that ends.
func Attach(t testing.TB, image string) string {
	t.Helper()
	device := strings.TrimSpace(Run(t, "losetup", "--find", "--show", image))
	held, err := os.Open(device)
	Run(t, "losetup", "--detach", device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = held.Close()
		awaitDetached(t, device)
	})
	return device
}

// detachTimeout is how long a file system on a loop device may take to let go of it.
const detachTimeout = 30 * time.Second

// awaitDetached waits until a loop device is gone, and with it the last write to its image: a process that is being forked
// can hold a file of a mount, and so the mount, a little longer than its owner. sysfs tells nobody, so it is asked again
// and again.
func awaitDetached(t testing.TB, device string) {
	t.Helper()
	backing := filepath.Join("/sys/block", filepath.Base(device), "loop")
	for deadline := time.Now().Add(detachTimeout); ; time.Sleep(time.Millisecond) { //nolint:forbidigo // there is no event to wait for
		if _, err := os.Stat(backing); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s is still in use", device)
			return
		}
	}
}

// Mount mounts the btrfs file system on device at dir with options ("" for none), makes dir when it is missing, and
// unmounts it when the test ends.
func Mount(t testing.TB, device, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(device, dir, "btrfs", unix.MS_NOATIME, options); err != nil {
		t.Fatalf("mount %s at %s (%s): %v", device, dir, options, err)
	}
	t.Cleanup(func() { Unmount(t, dir) })
}

// Unmount unmounts what is mounted at dir and below it. Nothing mounted there is not an error.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && err != unix.EINVAL && err != unix.ENOENT {
		t.Errorf("unmount %s: %v", dir, err)
	}
}

// Subvolume makes an empty subvolume at path.
func Subvolume(t testing.TB, path string) {
	t.Helper()
	Run(t, "btrfs", "subvolume", "create", path)
}

// Run runs a program and returns its standard output. The test fails with both outputs when the program does.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// Check fails the test unless btrfs itself finds a file system whole, on a device or in an image. With --force it does not look at what is
// mounted beside it, whose loop devices may be gone.
func Check(t testing.TB, device string) {
	t.Helper()
	if out, err := exec.Command("btrfs", "check", "--readonly", "--force", device).CombinedOutput(); err != nil {
		t.Errorf("btrfs check %s: %v\n%s", device, err, out)
	}
}
