package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestPlaceOnWhatIsMountedLater: in the initrd, where a home of its own is not mounted yet, nothing is made of what is to be kept in it: neither in the
// root, where it would be hidden, nor on the volume, where what the home has would give way to it.
func TestPlaceOnWhatIsMountedLater(t *testing.T) {
	m := newRunningMachine(t)
	m.write(t, "config.toml", strings.Replace(configuration, `"/var/log"`, `"/srv/app", "/home/demo/Documents"`, 1))
	m.write(t, "sysroot/home/demo/Documents/letter", "precious")
	m.write(t, "sysroot/etc/fstab", `UUID=1 / btrfs subvol=root 0 0
UUID=1 /home btrfs subvol=home 0 0
UUID=1 /persist btrfs subvol=persist 0 0
UUID=2 /var/cache ext4 defaults 0 2
none /swap swap sw
/dev/sr0 /media/cdrom iso9660 noauto 0 0
`)
	btrfstest.Unmount(t, filepath.Join(m.sysroot(), "home"))
	code, log, results := m.persist(t)
	if got := results["/home/demo/Documents"]; code != exitDone || got.State != persist.Failed || !strings.Contains(got.Error, persist.ErrNotMounted.Error()) {
		t.Errorf("exit %d, %+v\n%s", code, got, log)
	}
	if got := results["/srv/app"]; got.State != persist.InPlace {
		t.Errorf("got %+v", got)
	}
	for _, p := range []string{"persist/home", "home/demo"} {
		if _, err := os.Lstat(filepath.Join(m.sysroot(), p)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(m.dir, dropInName)); err != nil || !strings.HasSuffix(string(got), "[Unit]\nAfter=home.mount\n") {
		t.Errorf("the drop-in is %q, %v", got, err)
	}
	btrfstest.Mount(t, m.device, filepath.Join(m.sysroot(), "home"), "subvol=home")
	m.persistAll(t)
	if got, err := os.ReadFile(filepath.Join(m.sysroot(), "persist/home/demo/Documents/letter")); err != nil || string(got) != "precious" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestDaemonRuns: at boot nobody is asked who uses what, and nothing keeps what is kept from its place.
func TestDaemonRuns(t *testing.T) {
	o := options{sysroot: "/", runDir: filepath.Join(t.TempDir(), "impermanence")}
	if daemonRuns(o) {
		t.Error("it does not run yet")
	}
	if err := os.Mkdir(o.runDir+"d", 0o711); err != nil {
		t.Fatal(err)
	}
	if !daemonRuns(o) {
		t.Error("it runs")
	}
	if o.sysroot = "/sysroot"; daemonRuns(o) {
		t.Error("not in an initrd")
	}
}

func TestMountsThatEntriesComeAfter(t *testing.T) {
	for line, want := range map[string]bool{
		"UUID=1 /home btrfs subvol=home":                               true,
		"/dev/mapper/home /home ext4":                                  true,
		"LABEL=x /home xfs nofail,x-systemd.device-timeout=5":          true,
		"PARTUUID=x /home xfs":                                         true,
		"PARTLABEL=x /home xfs":                                        true,
		"server:/home /home nfs":                                       false,
		"/dev/sdb /home ext4 _netdev":                                  false,
		"/dev/sdb /home ext4 x-systemd.automount":                      false,
		"/dev/sdb /home ext4 x-systemd.requires=network-online.target": false,
		"/persist/home /home none bind":                                false,
	} {
		if got := isOfADisk(fstab.Parse(line)[0]); got != want {
			t.Errorf("%s: %t, want %t", line, got, want)
		}
	}
}
