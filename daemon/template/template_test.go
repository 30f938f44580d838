package template

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/machinetest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

func TestClean(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(name string) { machinetest.Write(t, filepath.Join(dir, name), "x", 0o600) }
	for _, name := range []string{
		"etc/machine-id", "etc/passwd", "etc/ssh/key", "etc/kept", "var/log/a/b", "var/log/c\nd", "tmp/.hidden", "var/tmp/x", "run/x", "srv/data/x",
	} {
		write(name)
	}
	machinetest.Write(t, filepath.Join(outside, "precious"), "", 0o600)
	for link, to := range map[string]string{"var/log/out": outside, "opt": outside, "var/mail": outside} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(target string) persist.Entry { return persist.Entry{Target: target, Kind: persist.File} }
	directory := func(target string) persist.Entry { return persist.Entry{Target: target} }
	entries := []persist.Entry{
		file("/etc/machine-id"), file("/etc/passwd"), file("/etc/ssh/key"), file("/etc/not-there"), directory("/var/log"), directory("/var/mail"),
		directory("/nothing/here"), directory("/srv/data"),
	}
	if err := Clean(dir, entries); err != nil {
		t.Fatal(err)
	}
	left, err := files(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"etc/machine-id": true, "etc/passwd": true, "etc/kept": true, "opt": true, "var/mail": true}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "etc/machine-id")); err != nil || len(text) > 0 {
		t.Errorf("the machine id is %q, %v", text, err)
	}
	for _, stays := range []string{filepath.Join(outside, "precious"), filepath.Join(dir, "var/log"), filepath.Join(dir, "srv/data"), filepath.Join(dir, "tmp")} {
		if _, err := os.Stat(stays); err != nil {
			t.Error(err)
		}
	}
	// A directory on the way that leads out of the tree is not followed.
	if err := Clean(dir, []persist.Entry{directory("/opt/inner"), file("/opt/precious")}); err == nil {
		t.Error("an entry outside the tree was cleaned")
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

// TestCleanLeavesWhatABootNeeds: the volume is found by fstab, and the kernel by the boot loader, before anything is in place.
func TestCleanLeavesWhatABootNeeds(t *testing.T) {
	needed := []string{"etc/fstab", "etc/impermanence/conf.d/a.toml", "etc/passwd", "etc/group", "boot/vmlinuz", "boot/grub/grub.cfg"}
	for _, entries := range [][]persist.Entry{
		{{Target: "/etc"}, {Target: "/boot"}},
		{
			{Target: "/etc/fstab", Kind: persist.File},
			{Target: "/etc/impermanence"},
			{Target: "/boot/grub"},
			{Target: "/etc/default"},
			{Target: "/etc/fstab.d/x", Kind: persist.File},
		},
	} {
		dir := t.TempDir()
		want := map[string]bool{}
		for _, name := range needed {
			machinetest.Write(t, filepath.Join(dir, name), "x", 0o600)
			want[name] = true
		}
		for _, name := range []string{"etc/default/grub", "etc/fstab.d/x"} {
			machinetest.Write(t, filepath.Join(dir, name), "x", 0o600)
		}
		if err := Clean(dir, entries); err != nil {
			t.Fatal(err)
		}
		left, err := files(dir)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("what is left (-want +got):\n%s", diff)
		}
	}
}

// environment tells what stays as it is on a machine that has nothing mounted below /boot, and keeps nothing there.
func environment(name string) bool { return filepath.Base(name) == grubEnvironment }

func TestMirror(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	put := func(dir, name, text string) { machinetest.Write(t, filepath.Join(dir, name), text, 0o600) }
	put(from, "vmlinuz-2", "new")
	put(from, "grub/grub.cfg", "new")
	put(from, "loader/entries/2.conf", "new")
	put(to, "efi/grubenv", "running, too")
	put(from, "grub/grubenv", "template's")
	put(to, "vmlinuz-1", "old")
	put(to, "mine", "mine")
	put(to, "grub/grub.cfg", "old")
	put(to, "grub/grubenv", "running")
	if err := os.Symlink("vmlinuz-2", filepath.Join(from, "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("vmlinuz-1", filepath.Join(to, "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	former := map[string]bool{"vmlinuz-1": true, "vmlinuz": true, "grub/grub.cfg": true, "grub/grubenv": true, "efi/grubenv": true, "gone-already": true}
	for range 2 {
		if err := mirror(from, to, former, environment); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		names, err := files(to)
		if err != nil {
			t.Fatal(err)
		}
		for name := range names {
			text, err := os.ReadFile(filepath.Join(to, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(text)
		}
		want := map[string]string{
			"vmlinuz-2": "new", "vmlinuz": "new", "grub/grub.cfg": "new", "loader/entries/2.conf": "new", "grub/grubenv": "running",
			"efi/grubenv": "running, too", "mine": "mine",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if err := mirror(filepath.Join(from, "none"), to, nil, environment); err != nil {
		t.Errorf("a template without /boot: %v", err)
	}
	// What can't be read is not taken for what is gone.
	if err := mirror(filepath.Join(from, "vmlinuz-2", "none"), to, map[string]bool{"mine": true}, environment); err == nil {
		t.Error("a /boot that can't be read was mirrored")
	}
	if _, err := os.Stat(filepath.Join(to, "mine")); err != nil {
		t.Error(err)
	}
}

// TestMirrorIsCutShort: as long as not all is there that is loaded, what names it is as before.
func TestMirrorIsCutShort(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	names := []string{"a/grub.cfg", "loader/entries/a.conf", "vmlinuz"}
	for _, name := range names[:2] {
		machinetest.Write(t, filepath.Join(from, name), "new", 0o600)
		machinetest.Write(t, filepath.Join(to, name), "old", 0o600)
	}
	machinetest.Write(t, filepath.Join(from, "vmlinuz-2"), "new", 0o600)
	machinetest.Write(t, filepath.Join(to, "vmlinuz-1"), "old", 0o600)
	for dir, kernel := range map[string]string{from: "vmlinuz-2", to: "vmlinuz-1"} {
		if err := os.Symlink(kernel, filepath.Join(dir, "vmlinuz")); err != nil {
			t.Fatal(err)
		}
	}
	machinetest.Write(t, filepath.Join(to, "vmlinuz-2/in-the-way"), "", 0o600)
	for range 10 {
		if err := mirror(from, to, map[string]bool{"vmlinuz-1": true}, environment); err == nil {
			t.Fatal("a directory was replaced")
		}
		for _, name := range names {
			if text, err := os.ReadFile(filepath.Join(to, name)); string(text) != "old" {
				t.Fatalf("%s is %q, %v", name, text, err)
			}
		}
	}
}

// TestBootIsDurable: once it is said that the template is changed, a power cut leaves neither it nor /boot of the root as it was.
func TestBootIsDurable(t *testing.T) {
	image, cut := btrfstest.NewImage(t, 0), filepath.Join(t.TempDir(), "cut.img")
	t.Run("run", func(t *testing.T) {
		device, dir := btrfstest.Attach(t, image), t.TempDir()
		top, root := filepath.Join(dir, "top"), filepath.Join(dir, "root")
		btrfstest.Mount(t, device, top, "subvolid=5")
		btrfstest.Subvolume(t, filepath.Join(top, "root"))
		btrfstest.Mount(t, device, root, "subvol=root")
		machinetest.Install(t, root, "usr/bin/dracut", map[string]string{
			"etc/impermanence/impermanence.toml": "[ephemeral.\"/\"]\ntemplate = \"root-template\"\n",
		})
		btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", root, filepath.Join(top, "root-template"))
		template, err := Open(root, func(text string) { t.Error(text) })
		if err != nil {
			t.Fatal(err)
		}
		if err := template.Run(t.Context(), []string{"sh", "-c", "echo >/boot/new"}, Streams{Err: t.Output()}); err != nil {
			t.Fatal(err)
		}
		btrfstest.Run(t, "cp", "--sparse=always", image, cut)
		if err := template.Close(); err != nil {
			t.Fatal(err)
		}
	})
	device := btrfstest.Attach(t, cut)
	for _, subvolume := range []string{"root-template", "root"} {
		dir := filepath.Join(t.TempDir(), subvolume)
		btrfstest.Mount(t, device, dir, "subvol="+subvolume)
		if _, err := os.Stat(filepath.Join(dir, "boot/new")); err != nil {
			t.Error(err)
		}
	}
}

// TestKernelsOfAnotherSystem lie in the same /boot, and the template has no modules for them. One that both load is ours as well, and so is one
// that nothing says anything of.
func TestKernelsOfAnotherSystem(t *testing.T) {
	device, dir := btrfstest.NewDevice(t, 0), t.TempDir()
	top, root := filepath.Join(dir, "top"), filepath.Join(dir, "root")
	btrfstest.Mount(t, device, top, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(top, "root"))
	btrfstest.Mount(t, device, root, "subvol=root")
	uuid := strings.TrimSpace(btrfstest.Run(t, "blkid", "-p", "-s", "UUID", "-o", "value", device))
	entry := func(version, options string) string {
		return "linux /id/" + version + "/linux\ninitrd /id/" + version + "/initrd\noptions " + options + "\n"
	}
	machinetest.Install(t, root, "usr/bin/dracut", map[string]string{
		"etc/impermanence/impermanence.toml": "[ephemeral.\"/\"]\ntemplate = \"root-template\"\n",
		"boot/loader/entries/1.conf":         entry("6.1.0-1-amd64", "root=UUID="+uuid+" rootflags=subvol=root"),
		"boot/loader/entries/disk.conf":      entry("7.1", "root=UUID=9-9"),
		"boot/loader/entries/subvolume.conf": entry("7.2", "root=UUID="+uuid+" rootflags=subvol=other"),
		"boot/loader/entries/both.conf":      entry("7.3", "root=UUID=9-9"),
		"boot/loader/entries/ours.conf":      entry("7.3", "root=UUID="+uuid),
		"boot/id/6.1.0-1-amd64/linux":        "", "boot/id/7.1/linux": "", "boot/id/7.2/linux": "", "boot/id/7.3/linux": "", "boot/id/7.4/linux": "",
	})
	btrfstest.Run(t, "btrfs", "subvolume", "snapshot", "-r", root, filepath.Join(top, "root-template"))
	template, err := Open(root, func(text string) { t.Error(text) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = template.Close() }()
	state, err := template.Show(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]machine.Kernel{{File: "/boot/id/7.3/linux", Version: "7.3"}, {File: "/boot/id/7.4/linux", Version: "7.4"}}, state.Without); diff != "" {
		t.Errorf("kernels without modules (-want +got):\n%s", diff)
	}
}
