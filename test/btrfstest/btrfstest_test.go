package btrfstest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

func TestDeviceMountsAndHoldsSubvolumes(t *testing.T) {
	device := btrfstest.NewDevice(t, 0)
	dir := filepath.Join(t.TempDir(), "top")
	btrfstest.Mount(t, device, dir, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(dir, "root"))
	if _, err := os.Stat(filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
}

// What the tests start from their own binary, as go test does to fuzz, finds their files, and leaves them.
func TestChildrenShareTheFiles(t *testing.T) {
	const env = "IMPERMANENCE_TEST_CHILD_READS"
	if path := os.Getenv(env); path != "" {
		if _, err := os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestChildrenShareTheFiles$")
	child.Env = append(os.Environ(), env+"="+path)
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestMountsStayInTheNamespace(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	parent, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	if own == parent {
		t.Fatalf("tests run in the mount namespace of their parent (%s)", own)
	}
}

// A file system can be listed as mounted from a loop device that has no file any more. Here its device is first one that has, then one without.
func TestCheckLooksAtOneDeviceAlone(t *testing.T) {
	dir, image := t.TempDir(), btrfstest.NewImage(t, 0)
	device := filepath.Join(dir, "device")
	btrfstest.Run(t, "cp", "--archive", btrfstest.NewDevice(t, 0), device)
	btrfstest.Mount(t, device, filepath.Join(dir, "top"), "")
	without := strings.TrimSpace(btrfstest.Run(t, "losetup", "--find", "--show", btrfstest.NewImage(t, 0)))
	btrfstest.Run(t, "losetup", "--detach", without)
	btrfstest.Run(t, "cp", "--archive", "--remove-destination", without, device)
	btrfstest.Check(t, image)
}
