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

// volumeMachine is one whose fresh root has an fstab and mount points.
func volumeMachine(t *testing.T, fstab string) *machine {
	t.Helper()
	m := newMachine(t)
	m.write(t, "config.toml", strings.Replace(configuration, `subvolume = "root"`, "subvolume = \"root\"\ntemplate = \"template\"", 1))
	btrfstest.Subvolume(t, filepath.Join(m.top, "template"))
	for _, dir := range []string{"persist/below", "data", "usr"} {
		if err := os.MkdirAll(filepath.Join(m.top, "template", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("data", filepath.Join(m.top, "template/link")); err != nil {
		t.Fatal(err)
	}
	m.write(t, "top/template/etc/fstab", strings.ReplaceAll(fstab, "OURS", m.device))
	return m
}

// left returns what rollover left to persist, "" for nothing, and the environment of the initrd's check.
func (m *machine) left(t *testing.T) (lines, environment string) {
	t.Helper()
	for name, text := range map[string]*string{volumesName: &lines, environmentName: &environment} {
		data, err := os.ReadFile(filepath.Join(m.dir, "run", name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		*text = string(data)
	}
	return lines, environment
}

const plainVolume = "OURS /persist btrfs subvol=persist,x-initrd.mount 0 0\n"

// The initrd is told to leave its lines alone only where each of them is one that persist mounts just so.
func TestWhatIsLeftToPersist(t *testing.T) {
	other := btrfstest.NewDevice(t, 0)
	for name, c := range map[string]struct {
		fstab, cmdline string
		lines          int
	}{
		"as setup writes it":        {"# for early boot\n\nOURS / btrfs subvol=root 0 0\n" + plainVolume, "", 1},
		"all that is known":         {"OURS /persist btrfs rw,noatime,nodev,subvol=/persist,compress=zstd:1,ssd,discard=async,nofail,x-initrd.mount,x-gvfs-hide\n", "", 1},
		"two":                       {plainVolume + "OURS /data btrfs subvol=/data,x-initrd.mount\nOURS /late btrfs noauto,x-systemd.automount\n", "", 2},
		"none for the initrd":       {"OURS /persist btrfs subvol=persist 0 0\n", "", 0},
		"one of another disk":       {plainVolume + "OTHER /data btrfs x-initrd.mount\n", "", 0},
		"no such disk":              {plainVolume + "UUID=00000000-0000-4000-8000-000000000000 /data btrfs x-initrd.mount\n", "", 0},
		"another file system":       {plainVolume + "OURS /data ext4 x-initrd.mount\n", "", 0},
		"any file system":           {plainVolume + "OURS /data auto x-initrd.mount\n", "", 0},
		"swap":                      {plainVolume + "OURS none swap x-initrd.mount\n", "", 0},
		"/usr":                      {plainVolume + "OURS /usr btrfs subvol=usr\n", "", 0},
		"/usr for the initrd":       {"OURS /usr btrfs subvol=usr,x-initrd.mount\n", "", 0},
		"the root":                  {plainVolume + "OURS / btrfs subvol=root,x-initrd.mount\n", "", 0},
		"what is not understood":    {plainVolume + "OURS /usr\n", "", 0},
		"not by itself":             {"OURS /persist btrfs subvol=persist,noauto,x-initrd.mount\n", "", 0},
		"by an automount":           {"OURS /persist btrfs subvol=persist,x-systemd.automount,x-initrd.mount\n", "", 0},
		"after a unit":              {"OURS /persist btrfs subvol=persist,x-systemd.requires=a.service,x-initrd.mount\n", "", 0},
		"an option of mount(8)":     {"OURS /persist btrfs subvol=persist,X-mount.mkdir,x-initrd.mount\n", "", 0},
		"an option nobody knows":    {"OURS /persist btrfs subvol=persist,new,x-initrd.mount\n", "", 0},
		"a label of SELinux":        {"OURS /persist btrfs subvol=persist,context=a,x-initrd.mount\n", "", 0},
		"no mount point":            {"OURS /none btrfs subvol=persist,x-initrd.mount\n", "", 0},
		"a relative mount point":    {"OURS persist btrfs subvol=persist,x-initrd.mount\n", "", 0},
		"a mount point that leaves": {"OURS /../persist btrfs subvol=persist,x-initrd.mount\n", "", 0},
		"by way of a symlink":       {"OURS /link btrfs subvol=persist,x-initrd.mount\n", "", 0},
		"one in the other":          {plainVolume + "OURS /persist/below btrfs subvol=data,x-initrd.mount\n", "", 0},
		"the same twice":            {plainVolume + plainVolume, "", 0},
		"kept":                      {plainVolume, "impermanence=keep", 0},
		"off":                       {plainVolume, "impermanence=off", 0},
		"failed":                    {plainVolume, "impermanence.root=nowhere", 0},
		"no fstab in the initrd":    {plainVolume, "rd.fstab=no", 0},
		"no fstab":                  {"", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := volumeMachine(t, strings.ReplaceAll(c.fstab, "OTHER", other))
			_, log, record := m.run(t, c.cmdline)
			lines, environment := m.left(t)
			if strings.Count(lines, "\n") != c.lines || (environment != "") != (c.lines > 0) {
				t.Errorf("persist is left %q, the initrd %q; %+v\n%s", lines, environment, record, log)
			}
		})
	}
}

// A root that the initrd finds by itself may be another than the fresh one.
func TestNothingIsLeftToPersistInAnUnknownRoot(t *testing.T) {
	m := volumeMachine(t, plainVolume)
	m.write(t, "config.toml", strings.Replace(configuration, `subvolume = "root"`, "subvolume = \"root\"\ntemplate = \"template\"\ndevice = \""+m.device+"\"", 1))
	if _, log, record := m.run(t, "root=gpt-auto"); record.Outcome != btrfsops.OutcomeFresh {
		t.Fatalf("%+v\n%s", record, log)
	}
	if lines, environment := m.left(t); lines != "" || environment != "" {
		t.Errorf("persist is left %q, the initrd %q", lines, environment)
	}
}

func TestPersistMountsWhatIsLeftToIt(t *testing.T) {
	const table = "/run/mount" // libmount's
	if err := os.MkdirAll(table, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", table, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { btrfstest.Unmount(t, table) })
	m := volumeMachine(t, "OURS /persist btrfs noexec,subvol=/persist,nofail,x-initrd.mount\n")
	if code, log, _ := m.run(t, ""); code != exitDone {
		t.Fatalf("exit %d\n%s", code, log)
	}
	m.write(t, "top/persist/var/log/kept", "")
	btrfstest.Mount(t, m.device, m.sysroot(), "subvol=root,ro")
	code, log, results := m.persist(t)
	t.Cleanup(func() {
		btrfstest.Unmount(t, filepath.Join(m.sysroot(), "var/log"))
		btrfstest.Unmount(t, filepath.Join(m.sysroot(), "persist"))
	})
	if code != exitDone || len(results) != 1 {
		t.Errorf("exit %d, %+v\n%s", code, results, log)
	}
	for _, path := range []string{"persist/var/log/kept", "var/log/kept"} {
		if _, err := os.Stat(filepath.Join(m.sysroot(), path)); err != nil {
			t.Errorf("%v\n%s", err, log)
		}
	}
	if options := btrfstest.Run(t, "findmnt", "--mtab", "--noheadings", "--output=OPTIONS", filepath.Join(m.sysroot(), "persist")); !strings.Contains(options, "noexec") ||
		!strings.HasPrefix(options, "rw,") || !strings.HasSuffix(strings.TrimSpace(options), ",x-initrd.mount") || strings.Contains(options, "noatime") {
		t.Errorf("mounted with %s", options)
	}
	if code, log, _ := m.persist(t); code != exitDone || strings.Count(btrfstest.Run(t, "findmnt", "--noheadings", "--output=TARGET"), "sysroot/persist\n") != 1 {
		t.Errorf("a second time: exit %d\n%s", code, log)
	}
}

// A volume that can't be mounted here is one that the system mounts.
func TestAVolumeThatPersistCannotMountIsLate(t *testing.T) {
	m := volumeMachine(t, "OURS /persist btrfs subvol=none,x-initrd.mount\n")
	if code, log, _ := m.run(t, ""); code != exitDone {
		t.Fatalf("exit %d\n%s", code, log)
	}
	btrfstest.Mount(t, m.device, m.sysroot(), "subvol=root")
	code, log, results := m.persist(t)
	if !strings.Contains(log, "error: mount the volume /persist: ") || !strings.Contains(log, "the system mounts it later") {
		t.Errorf("exit %d, %+v\n%s", code, results, log)
	}
	t.Logf("exit %d, %+v\n%s", code, results, log)
}
