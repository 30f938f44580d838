package btrfsops

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// makeDefault makes a subvolume the one that a mount without subvol= gives.
func (f *fixture) makeDefault(t *testing.T, name string) {
	t.Helper()
	btrfstest.Run(t, "btrfs", "subvolume", "set-default", f.path(name))
}

// What this boot would mount instead of the fresh root stays what it is, and the error says what to change.
func TestRolloverRefusesWhatThisBootWouldNotMount(t *testing.T) {
	const rootflags = "rootflags= on the kernel command line"
	for name, c := range map[string]struct {
		options  string // @: the root's id
		fallback string
		says     string
	}{
		"another subvolume":                   {"rw,subvol=/rootfs", "", `has subvol=/rootfs, the configuration has "root"`},
		"another, where the root is default":  {"subvol=/rootfs", "root", "has subvol=/rootfs"},
		"the root by its id":                  {"subvolid=@", "", "put subvol=root in its place"},
		"the root by name and id":             {"subvolid=@,subvol=root", "", "put subvol=root in its place"},
		"the top level by its id":             {"subvolid=0", "", "put subvol=root in its place"},
		"the default, which is the top level": {"rw,noatime", "", "the default subvolume is 5"},
		"the default, which is another":       {"", "nix", "add subvol=root"},
		"a name that begins with the root's":  {"subvol=root2", "", "subvol=root2"},
		"the last of two":                     {"subvol=root,subvol=persist", "", "subvol=persist"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.fallback != "" {
				f.makeDefault(t, c.fallback)
			}
			before := inventory(t, f)
			options := strings.Replace(c.options, "@", fmt.Sprint(f.id(t, "root")), 1)
			_, err := f.tryBoot(1, RolloverOptions{Mount: RootMount{Options: options, From: rootflags}})
			if !errors.Is(err, ErrOtherRoot) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), rootflags) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
			t.Log(err)
			if after := inventory(t, f); after != before {
				t.Errorf("the refusal changed the file system:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

func TestRolloverTakesEveryNameOfTheRoot(t *testing.T) {
	f := newFixture(t)
	for n, options := range []string{"subvol=root", "rw,subvol=/root,noatime", "subvol=/root/", `subvol="root"`, "subvol=//root"} {
		f.boot(t, n+1, RolloverOptions{Mount: RootMount{Device: f.device, Options: options, From: "rootflags="}})
	}
}

// A device that is no part of the file system is none of its names; one that can't be read may be.
func TestRolloverRefusesWhatIsOnAnotherDevice(t *testing.T) {
	f := newFixture(t)
	zeros := t.TempDir() + "/zeros"
	must(t, os.WriteFile(zeros, make([]byte, 1<<20), 0o600))
	for _, device := range []string{btrfstest.NewDevice(t, 0), zeros} {
		_, err := f.tryBoot(1, RolloverOptions{Mount: RootMount{Device: device, Options: "subvol=root", From: "sysroot.mount"}})
		if !errors.Is(err, ErrOtherRoot) || !strings.Contains(err.Error(), device) {
			t.Errorf("%s: error %v", device, err)
		}
	}
	zoned := t.TempDir() + "/zoned" // it has the superblock elsewhere
	device, err := os.Open(f.device)
	must(t, err)
	defer func() { _ = device.Close() }()
	start := make([]byte, 1<<20)
	_, err = device.ReadAt(start[:4<<10], 64<<10)
	must(t, err)
	must(t, os.WriteFile(zoned, start, 0o600))
	for n, device := range []string{f.device, zeros + ".none", "/proc/version", "", zoned} {
		f.boot(t, n+1, RolloverOptions{Mount: RootMount{Device: device, Options: "subvol=root", From: "sysroot.mount"}})
	}
}

// Without subvol= the kernel mounts the default subvolume, which it knows by id.
func TestTheDefaultSubvolumeFollowsTheRoot(t *testing.T) {
	f := newFixture(t)
	f.makeDefault(t, "root")
	unnamed := RolloverOptions{Mount: RootMount{Options: "rw", From: "rootflags="}}
	for n := range 3 {
		report := f.boot(t, n+1, unnamed)
		sysroot := t.TempDir()
		btrfstest.Mount(t, f.device, sysroot, "")
		must(t, os.WriteFile(sysroot+"/made-in-this-boot", nil, 0o644))
		f.has(t, "root/made-in-this-boot", "")
		btrfstest.Unmount(t, sysroot)
		f.has(t, "root/made-in-this-boot", "")
		if fallback, err := f.DefaultSubvolume(); err != nil || fallback != report.Fresh {
			t.Errorf("default subvolume %d (%v), fresh root %d", fallback, err, report.Fresh)
		}
	}
	for _, root := range f.list(t)[:2] {
		if report := f.delete(t, root.ID); len(report.Deleted) != 1 {
			t.Errorf("the former default subvolume: %+v", report)
		}
	}
}

// When the default subvolume can't follow, the former root is the one that boots, by name and by default.
func TestARootThatTheDefaultCanNotFollowStays(t *testing.T) {
	f := newFixture(t)
	f.makeDefault(t, "root")
	former := f.id(t, "root")
	f.kernel.step = func(call string, done bool) error {
		if call == "set default" && !done {
			return errInjected
		}
		return nil
	}
	report, err := f.tryBoot(1, RolloverOptions{})
	f.kernel.step = nil
	if !errors.Is(err, errInjected) || report.Fresh != 0 || f.id(t, "root") != former {
		t.Errorf("error %v, report %+v, root %d, was %d", err, report, f.id(t, "root"), former)
	}
	if fallback, err := f.DefaultSubvolume(); err != nil || fallback != former {
		t.Errorf("default subvolume %d (%v), want %d", fallback, err, former)
	}
	report = f.boot(t, 2, RolloverOptions{})
	if report.Former != former || !strings.Contains(report.Recovered, "before the exchange") {
		t.Errorf("the boot after: %+v", report)
	}
}

// A default subvolume that is something else is left alone.
func TestAnotherDefaultSubvolumeStays(t *testing.T) {
	f := newFixture(t)
	f.makeDefault(t, "nix")
	f.boot(t, 1, RolloverOptions{Mount: RootMount{Options: "subvol=root", From: "rootflags="}})
	if fallback, err := f.DefaultSubvolume(); err != nil || fallback != f.id(t, "nix") {
		t.Errorf("default subvolume %d (%v)", fallback, err)
	}
}

// The kernel writes names into the mount table as they are.
func TestANameCanNotHideAMount(t *testing.T) {
	f := newFixture(t)
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	root := f.list(t)[0]
	must(t, os.Rename(f.path(root.Path), f.path("old_roots/a,subvolid=5,b")))
	btrfstest.Mount(t, f.device, t.TempDir(), fmt.Sprint("subvolid=", root.ID))
	if report := f.delete(t, root.ID); len(report.Deleted) > 0 {
		t.Errorf("a mounted root was deleted: %+v", report)
	}
}
