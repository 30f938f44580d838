package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// What this boot will mount is looked at first: a fresh root that it would not mount is none.
func TestARootThatThisBootDoesNotMountIsNotRolledOver(t *testing.T) {
	for cmdline, says := range map[string]string{
		"rootflags=subvol=@":                  `rootflags= on the kernel command line has subvol=@, the configuration has "root"`,
		"rootflags=subvolid=256":              "put subvol=root in its place",
		"rootflags=noatime":                   "the default subvolume is 5",
		"rootflags=":                          "add subvol=root there",
		"rootflags=subvol=@ impermanence=off": "",
		"root=fstab rootflags=subvol=@":       "-",
		"root=UUID=1-2 rootflags=subvol=@":    "-",
		"root=OTHER":                          "which is not of the file system with the root",
	} {
		t.Run(cmdline, func(t *testing.T) {
			m := newMachine(t)
			m.write(t, "config.toml", "[ephemeral.\"/\"]\ndevice = \""+m.device+"\"\n")
			code, log, record := m.run(t, strings.ReplaceAll(cmdline, "OTHER", btrfstest.NewDevice(t, 0)))
			switch says {
			case "-": // not known what is mounted: as always
				if code != exitDone || !m.fresh(t) {
					t.Errorf("exit %d, record %+v\n%s", code, record, log)
				}
			case "":
				if code != exitDone || m.fresh(t) || record.Outcome != btrfsops.OutcomeSkipped {
					t.Errorf("exit %d, record %+v\n%s", code, record, log)
				}
			default:
				if code != exitFailed || m.fresh(t) || record.Outcome != btrfsops.OutcomeFailed || !strings.Contains(record.Error, says) {
					t.Errorf("exit %d, record %+v\n%s", code, record, log)
				}
			}
			t.Log(log)
		})
	}
}

// A systemd initrd mounts what its unit says, whatever the kernel command line does.
func TestTheUnitOfTheRootDecides(t *testing.T) {
	if err := unix.Mount("units", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { btrfstest.Unmount(t, "/run") })
	const dir = "/run/systemd/generator"
	if err := os.MkdirAll(dir+"/sysroot.mount.d", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ options, dropIn, says string }{
		{"subvol=@", "", dir + "/sysroot.mount has subvol=@"},
		{"rw", "", dir + "/sysroot.mount has no subvol="},
		{"rw,subvol=/root", "", ""},
		{"subvol=root", "Options=subvol=@", dir + "/sysroot.mount.d/other.conf has subvol=@"},
		{"subvol=@", "Options=subvol=root", ""},
		{"subvol=root", "What=OTHER", "it mounts /dev/loop"},
		{"subvol=root", "What=OURS", ""},
	} {
		m := newMachine(t) // a boot rolls over once
		devices := strings.NewReplacer("OTHER", btrfstest.NewDevice(t, 0), "OURS", m.device)
		for name, text := range map[string]string{
			"sysroot.mount":              "[Mount]\nWhere=/sysroot\nWhat=/dev/x\nOptions=" + c.options + "\n",
			"sysroot.mount.d/other.conf": "[Mount]\n" + devices.Replace(c.dropIn) + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, log, record := m.run(t, "rootflags=subvol=other")
		if m.fresh(t) != (c.says == "") || !strings.Contains(record.Error, c.says) {
			t.Errorf("%s, %s: record %+v\n%s", c.options, c.dropIn, record, log)
		}
	}
}

// fstab of the root says how other ephemeral mount points are mounted, also when that root is an old one by then.
func TestAnotherMountPointThatIsMountedByIDIsNotRolledOver(t *testing.T) {
	m := newMachine(t)
	m.write(t, "config.toml", `
[ephemeral."/"]
[ephemeral."/home"]
subvolume = "home"
oldRoots = "old_homes"
`)
	btrfstest.Subvolume(t, filepath.Join(m.top, "home"))
	m.write(t, "top/home/stray", "stray")
	m.write(t, "top/root/etc/fstab", "UUID=1 /home btrfs subvolid=258 0 0\n")
	var b strings.Builder
	code := run(t.Context(), []string{
		"rollover", "--config", filepath.Join(m.dir, "config.toml"), "--device", m.device, "--cmdline", "quiet",
		"--run-dir", filepath.Join(m.dir, "run"),
	}, newLogger(&b, person))
	records, err := btrfsops.ReadBootRecords(filepath.Join(m.dir, "run", btrfsops.BootRecordName))
	if err != nil || code != exitFailed || len(records) != 2 || !m.fresh(t) {
		t.Fatalf("exit %d, records %+v (%v)\n%s", code, records, err, b.String())
	}
	if records[1].Outcome != btrfsops.OutcomeFailed || !strings.Contains(records[1].Error, "/etc/fstab has subvolid=258") {
		t.Errorf("record %+v", records[1])
	}
	if _, err := os.Stat(filepath.Join(m.top, "home/stray")); err != nil {
		t.Error(err)
	}
}
