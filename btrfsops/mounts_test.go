package btrfsops

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// elsewhere mounts in a mount namespace of its own, of a process that ends with the test.
func elsewhere(t *testing.T, device, options string) (pid int) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation=private", "sh", "-c", `mount -t btrfs -o "$1" "$2" "$3" && echo mounted && read end`,
		"sh", options, device, t.TempDir())
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil && err != io.EOF || line != "mounted\n" {
		t.Fatalf("mount elsewhere: %q (%v)", line, err)
	}
	return cmd.Process.Pid
}

// What is mounted in a container keeps an old root, also one that began while others were being deleted.
func TestMountsOfOtherNamespaces(t *testing.T) {
	f := newFixture(t)
	root := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	watch, err := f.watchMounts()
	must(t, err)
	defer watch.close()
	elsewhere(t, f.device, "subvol="+root.OldRoot)
	watch.opened = watch.opened.Add(-time.Hour)
	if ids, err := watch.mounted(); err != nil || !ids[root.Former] {
		t.Errorf("mounted: %v (%v)", ids, err)
	}
	if report := f.delete(t, root.Former); len(report.Deleted) > 0 {
		t.Errorf("deleted while it was mounted: %+v", report)
	}
}

// With however few file descriptors there are, either all tables are opened or it fails.
func TestMountTablesThatDoNotOpen(t *testing.T) {
	f := newFixture(t)
	last := fmt.Sprintf("/proc/%d/mountinfo", elsewhere(t, f.device, "subvol=persist"))
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	for n := uint64(1); ; n++ {
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: limit.Max}))
		tables, err := openMountTables()
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
		found := slices.ContainsFunc(tables, func(table *os.File) bool { return table.Name() == last })
		for _, table := range tables {
			must(t, table.Close())
		}
		if err == nil && !found {
			t.Errorf("with %d file descriptors %d tables were opened, without %s", n, len(tables), last)
		}
		if err == nil {
			return
		}
	}
}

// Another file system's subvolumes have the same ids. Mounted by a name that is nowhere here, as in a container, or for a service
// without devices, it is another one all the same; and ours is ours.
func TestAnotherFileSystemIsMountedByAnUnknownName(t *testing.T) {
	for name, own := range map[string]bool{"ours": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			former := f.boot(t, 1, RolloverOptions{}).Former
			f.boot(t, 2, RolloverOptions{})
			device, options := f.device, "subvolid="+formatID(former)
			if !own {
				device = btrfstest.NewDevice(t, 0)
				top := filepath.Join(t.TempDir(), "top")
				btrfstest.Mount(t, device, top, "subvolid=5")
				btrfstest.Subvolume(t, filepath.Join(top, "same"))
				if former != firstFreeID { // that of the first subvolume
					t.Fatalf("the ids are to be the same: %d", former)
				}
				btrfstest.Unmount(t, top)
			}
			node := filepath.Join(t.TempDir(), "node")
			var st unix.Stat_t
			must(t, unix.Stat(device, &st))
			must(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(st.Rdev)))
			must(t, f.Close())
			fs, err := OpenMounted(f.dir)
			must(t, err)
			f.Filesystem = fs
			t.Cleanup(func() { _ = fs.Close() })
			elsewhere(t, node, options)
			must(t, os.Remove(node))
			report := f.delete(t, former)
			if deleted := len(report.Deleted) == 1; deleted == own {
				t.Errorf("report: %+v", report)
			}
		})
	}
}
