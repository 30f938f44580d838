package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// The first mount of a file system decides for those that come later. So where the top level stays mounted it has the options of the root's.
func TestTheTopLevelStaysMounted(t *testing.T) {
	for name, c := range map[string]struct {
		cmdline string
		stays   bool
		has     string // options of the file system
	}{
		"as Debian's":             {"rootflags=subvol=root ro", true, "space_cache=v2"},
		"with compression":        {"rootflags=subvol=/root,noatime,compress=zstd:5,commit=7", true, "compress=zstd:5,commit=7"},
		"read-only":               {"rootflags=ro,subvol=root,x-systemd.device-timeout=0,defaults", true, "rw"},
		"what nobody knows":       {"rootflags=subvol=root,skip_balance", false, ""},
		"kept":                    {"rootflags=subvol=root impermanence=keep", false, ""},
		"another subvolume":       {"rootflags=subvol=persist", false, ""},
		"root that nobody knows":  {"root=gpt-auto rootflags=subvol=root", false, ""},
		"an option without sense": {"rootflags=subvol=root,compress=none-such", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			btrfstest.Unmount(t, m.top) // the rollover's is the first mount
			top := filepath.Join(m.dir, "run", topName)
			t.Cleanup(func() { btrfstest.Unmount(t, top) })
			for boot := range 2 { // the second time it is there already
				_, log, _ := m.run(t, c.cmdline, "--keep-mounted", "--device", m.device)
				mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(top))
				if err != nil || (len(mounts) == 1) != c.stays || len(mounts) > 1 {
					t.Fatalf("run %d: mounts %v (%v)\n%s", boot, mounts, err, log)
				}
				if !c.stays {
					continue
				}
				if mounts[0].Root != "/" || !strings.Contains(mounts[0].Options, "nosuid,nodev,noexec") {
					t.Errorf("mounted as %+v", mounts[0])
				}
				for option := range strings.SplitSeq(c.has, ",") {
					if !strings.Contains(mounts[0].VFSOptions+",", option+",") {
						t.Errorf("the file system has %q, not %s", mounts[0].VFSOptions, option)
					}
				}
			}
			if !c.stays {
				return
			}
			// As a boot goes on: the root is mounted read-only beside it, and for writing later.
			sysroot := t.TempDir()
			t.Cleanup(func() { btrfstest.Unmount(t, sysroot) })
			for _, flags := range []uintptr{unix.MS_RDONLY, unix.MS_REMOUNT} {
				if err := unix.Mount(m.device, sysroot, "btrfs", flags, "subvol=root"); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(sysroot, "written"), nil, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file system that has lost a disk is mounted with degraded alone: what boots that way gets a fresh root, and else it is said what to do.
func TestAFileSystemThatHasLostADisk(t *testing.T) {
	const says = "a disk of the file system is missing (no such file or directory): to go on without it, put degraded into rootflags="
	for _, options := range []string{"degraded", "degraded,another"} {
		t.Run(options, func(t *testing.T) {
			m := newMachine(t)
			lost := btrfstest.NewDevice(t, 0)
			btrfstest.Run(t, "btrfs", "device", "add", "--force", lost, m.top)
			btrfstest.Run(t, "btrfs", "balance", "start", "-dconvert=raid1", "-mconvert=raid1", m.top)
			btrfstest.Unmount(t, m.top)
			btrfstest.Run(t, "btrfs", "device", "scan", "--forget", lost)
			btrfstest.Run(t, "wipefs", "--all", lost)
			top := filepath.Join(m.dir, "run", topName)
			t.Cleanup(func() { btrfstest.Unmount(t, top) })
			if code, log, record := m.run(t, "", "--keep-mounted"); code != exitFailed || !strings.Contains(log, says) || !strings.Contains(record.Error, says) {
				t.Errorf("without degraded: exit %d, %+v\n%s", code, record, log)
			}
			if code, log, record := m.run(t, "rootflags=subvol=root,"+options, "--keep-mounted"); code != exitDone || record.Report.Fresh == 0 {
				t.Errorf("exit %d, %+v\n%s", code, record, log)
			}
			btrfstest.Mount(t, m.device, filepath.Join(m.dir, "sysroot"), "subvol=root,degraded")
		})
	}
}
