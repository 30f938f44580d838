package check

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/template"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/machinetest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// right is a machine that nothing is wrong with.
func right() Facts {
	c := &config.Config{
		Ephemeral: []config.Ephemeral{{MountPoint: "/", Subvolume: "@", OldRoots: "old_roots", Template: "root-template"}},
		Volumes:   []persist.Volume{{Path: "/persist", Entries: []persist.Entry{{Target: "/home", Volume: "/persist"}}}},
	}
	return Facts{
		Runs: true, Config: c, Root: &c.Ephemeral[0], UUID: "1-2", RootID: 300, DefaultID: 5, OldRoots: true,
		Mounts: []machine.Mount{
			{Point: "/", Type: "btrfs", Source: "/dev/sda2", Subvolume: "@"},
			{Point: "/persist", Type: "btrfs", Subvolume: "persist"},
			{Point: "/swap", Type: "btrfs", Subvolume: "swap"},
		},
		Fstab: fstab.Parse("UUID=1-2 / btrfs subvol=@ 0 0\nUUID=1-2 /persist btrfs subvol=persist,x-initrd.mount 0 0\n/swap/file none swap sw 0 0\n"),
		Boot: []machine.BootFile{
			machine.NewBootFile("/etc/kernel/cmdline", machine.PlainCmdline, "root=UUID=1-2 rootflags=subvol=@ quiet"),
			machine.NewBootFile("/boot/loader/entries/other.conf", machine.LoaderEntry, "linux /x\noptions root=UUID=9-9 rootflags=subvolid=5\n"),
		},
		Names:      []string{"/dev/sda2"},
		Running:    "root=UUID=1-2 rootflags=subvol=@ quiet resume=/dev/sda3",
		Initrds:    []Initrd{{File: "/boot/initrd.img-6.1", Time: time.Unix(200, 0), Known: true, Stub: true}},
		InitrdTool: &machine.InitrdTool{Name: "dracut", Rebuild: []string{"dracut", "--force"}},
		ConfigTime: time.Unix(100, 0),
		Units:      map[string]bool{"impermanenced.service": true},
		Packages:   machine.Packages{Manager: "dpkg", Database: "/var/lib/dpkg/status"},
		Template:   &template.State{Modules: []string{"6.1"}},
		Rollover:   []btrfsops.BootRecord{{MountPoint: "/", Outcome: btrfsops.OutcomeFresh}},
	}
}

func TestNothingIsWrong(t *testing.T) {
	if found := Judge(right()); len(found) > 0 {
		t.Errorf("got %+v", found)
	}
	f := right()
	f.DefaultID = f.RootID // openSUSE's way: no command line names the root
	f.Running, f.Boot[0] = "root=UUID=1-2 quiet", machine.NewBootFile("/etc/kernel/cmdline", machine.PlainCmdline, "root=UUID=1-2")
	if found := Judge(f); len(found) > 0 {
		t.Errorf("a root that is the default subvolume: %+v", found)
	}
	f = right()
	f.Running, f.Initrds[0].Cmdline = "quiet", "root=UUID=1-2 rootflags=rw,subvol=/@"
	if found := Judge(f); len(found) > 0 {
		t.Errorf("an initrd with the right root built in: %+v", found)
	}
	f = right()
	f.Initrds[0].Cmdline = "root=UUID=1-2 rootflags=subvolid=256"
	if found := Judge(f); len(found) > 0 {
		t.Errorf("a command line with root= counts, not what is built in: %+v", found)
	}
	f = right()
	f.Others = map[string]bool{"400": true}
	for form, text := range map[machine.BootForm]string{
		machine.LoaderEntry: "linux /x\noptions root=UUID=1-2 rootflags=subvolid=400\n",
		machine.GrubConfig:  "linux /x root=UUID=1-2 rootflags=subvolid=400,subvol=@other\nlinux16 /boot/memtest86+.bin\n",
	} {
		f.Boot = append(f.Boot, machine.NewBootFile(fmt.Sprint("/boot/", form), form, text))
	}
	if found := Judge(f); len(found) > 0 {
		t.Errorf("another system on the same file system: %+v", found)
	}
	f = right()
	f.Boot[1] = machine.NewBootFile("/efi/loader/entries/other.conf", machine.LoaderEntry, "linux /9/1/linux\ninitrd /ucode /9/1/initrd\noptions root=UUID=9-9\n")
	f.Initrds = append(f.Initrds, Initrd{File: "/efi/9/1/initrd", Known: true})
	if found := Judge(f); len(found) > 0 {
		t.Errorf("an initrd of another system: %+v", found)
	}
	f = right()
	f.Running += " resume=UUID=1-2"
	if found := Judge(f); len(found) > 0 {
		t.Errorf("a swap file that lies outside of the root: %+v", found)
	}
	f = right()
	f.Config.Volumes[0].Path = "/persist/system"
	if found := Judge(f); len(found) > 0 {
		t.Errorf("a volume that is a directory of what is mounted: %+v", found)
	}
	for _, text := range []string{"UUID=1-2 / btrfs noatime,subvol=@ 0 0", "UUID=1-2 / btrfs subvol=@ 0 0\nUUID=1-2 /srv btrfs relatime 0 0"} {
		f = right()
		f.Fstab = fstab.Parse(text + "\nUUID=1-2 /persist btrfs relatime,x-initrd.mount 0 0\n/swap/file none swap sw 0 0\n")
		if found := Judge(f); len(found) > 0 {
			t.Errorf("access times that a fresh root does not write: %+v", found)
		}
	}
	f = right()
	f.NixOS, f.Units, f.Running = true, nil, "init=/nix/store/x/init root=fstab"
	if found := Judge(f); len(found) > 0 {
		t.Errorf("NixOS: %+v", found)
	}
}

// TestAnOldRootIsNoRoot: what was booted by mistake is not to become the configuration's root.
func TestAnOldRootIsNoRoot(t *testing.T) {
	for mounted, may := range map[string]bool{"old_roots/x": false, "old_roots_not": true} {
		f := right()
		f.Mounts[0].Subvolume = mounted
		if found := Judge(f); len(found) != 1 || strings.Contains(found[0].Try, "configuration") != may {
			t.Errorf("with %s as the root: %+v", mounted, found)
		}
	}
}

func TestWhatIsWrong(t *testing.T) {
	fstab := func(text string) func(f *Facts) { return func(f *Facts) { f.Fstab = fstab.Parse(text) } }
	const root = "UUID=1-2 / btrfs subvol=@ 0 0\n"
	for _, test := range []struct {
		id    string
		level Level
		spoil func(f *Facts)
	}{
		{"configuration", Error, func(f *Facts) {
			f.Config, f.Root, f.ConfigErr = nil, nil, config.Errors{{File: "a.toml", Line: 3, Message: "wrong"}}
		}},
		{"configuration", Error, func(f *Facts) { f.Config, f.Root, f.ConfigErr = nil, nil, errors.New("unreadable") }},
		{"not-configured", Error, func(f *Facts) { f.Root = nil }},
		{"file-system", Error, func(f *Facts) { f.Filesystem = errors.New("the root is ext4, not btrfs") }},
		{"no-root", Error, func(f *Facts) { f.RootID = 0 }},
		{"other-root", Error, func(f *Facts) { f.Mounts[0].Subvolume = "old_roots/x" }},
		{"rootflags-subvolid", Error, func(f *Facts) {
			f.Boot[0] = machine.NewBootFile("/etc/kernel/cmdline", machine.PlainCmdline, "root=/dev/sda2 rootflags=subvolid=256")
		}},
		{"rootflags-subvolid", Error, func(f *Facts) { f.Running = "rootflags=subvol=@,subvolid=256" }},
		{"rootflags-subvolid", Error, func(f *Facts) {
			f.Others = map[string]bool{"256": true}
			f.Boot[0] = machine.NewBootFile("/etc/kernel/cmdline", machine.PlainCmdline, "root=/dev/sda2 rootflags=subvolid=256")
		}},
		{"rootflags-subvolid", Error, func(f *Facts) {
			f.Boot[1] = machine.NewBootFile("/boot/loader/entries/x.conf", machine.LoaderEntry, "linux /x\noptions root=UUID=1-2 rootflags=subvolid=256\n")
		}},
		{"rootflags", Error, func(f *Facts) { f.Running = "root=UUID=1-2 quiet" }},
		{"rootflags", Error, func(f *Facts) { f.Running = "root=UUID=1-2 rootflags=subvol=@old" }},
		{"rootflags-subvolid", Error, func(f *Facts) {
			f.Running, f.Initrds[0].Cmdline = "quiet", "root=UUID=1-2 rootflags=rw,subvolid=256,subvol=/@"
		}},
		{"rootflags", Error, func(f *Facts) { f.Running, f.Initrds[0].Cmdline = "quiet", "root=UUID=1-2 rootfstype=btrfs" }},
		{"fstab-subvolid", Warning, fstab("UUID=1-2 / btrfs subvolid=256,subvol=@ 0 0\nUUID=1-2 /persist btrfs x-initrd.mount 0 0\n")},
		{"fstab-atime", Warning, fstab("UUID=1-2 / btrfs rw,relatime,subvol=@ 0 0\nUUID=1-2 /persist btrfs relatime,x-initrd.mount 0 0\n")},
		{"fstab-atime", Warning, fstab("UUID=1-2 / btrfs subvol=@,strictatime 0 0\nUUID=1-2 /persist btrfs x-initrd.mount 0 0\n")},
		{"rollover-failed", Error, func(f *Facts) { f.Rollover[0].Outcome = btrfsops.OutcomeFailed }},
		{"no-rollover", Warning, func(f *Facts) { f.Rollover = nil }},
		{"initrd", Error, func(f *Facts) { f.Initrds[0].Stub = false }},
		{"initrd-older", Warning, func(f *Facts) { f.ConfigTime = time.Unix(300, 0) }},
		{"not-installed", Error, func(f *Facts) { f.Units = nil }},
		{"unit", Error, func(f *Facts) { f.Units["impermanenced.service"] = false }},
		{"volume-missing", Error, func(f *Facts) { fstab(root)(f); f.Mounts = slices.Delete(f.Mounts, 1, 2) }},
		{"volume-not-mounted", Error, func(f *Facts) { f.Mounts = slices.Delete(f.Mounts, 1, 2) }},
		{"volume-not-mounted", Error, func(f *Facts) { f.Config.Volumes[0].Path, f.Mounts = "/persist/system", slices.Delete(f.Mounts, 1, 2) }},
		{"volume-missing", Error, func(f *Facts) { f.Config.Volumes[0].Path = "/persistent/system" }},
		{"volume-missing", Error, func(f *Facts) {
			f.Config.Ephemeral = append(f.Config.Ephemeral, config.Ephemeral{MountPoint: "/home"})
			f.Config.Volumes[0].Path = "/home/persist"
			f.Mounts = append(f.Mounts, machine.Mount{Point: "/home", Type: "btrfs", Subvolume: "home"})
			fstab(root + "UUID=1-2 /home btrfs subvol=home,x-initrd.mount 0 0\n")(f)
		}},
		{"volume-late", Warning, fstab(root + "UUID=1-2 /persist btrfs subvol=persist 0 0\n")},
		{"volume-in-root", Error, fstab(root + "UUID=1-2 /persist btrfs subvol=/@/persist,x-initrd.mount 0 0\n")},
		{"volume-in-root", Error, func(f *Facts) {
			f.Root.Subvolume, f.Mounts[0].Subvolume, f.DefaultID, f.Running = "my root", "my root", f.RootID, "root=UUID=1-2"
			fstab("UUID=1-2 / btrfs subvol=my\\040root 0 0\nUUID=1-2 /persist btrfs subvol=my\\040root/persist,x-initrd.mount 0 0\n")(f)
		}},
		{"set-up-unfinished", Error, func(f *Facts) { f.Template, f.HalfSetUp, f.Staged = nil, true, true }},
		{"no-template", Error, func(f *Facts) { f.Template, f.TemplateErr = nil, fmt.Errorf("%w at x", btrfsops.ErrNoTemplate) }},
		{"template", Error, func(f *Facts) { f.Template, f.TemplateErr = nil, errors.New("unreadable") }},
		{"template-staged", Warning, func(f *Facts) { f.Staged = true }},
		{"kernel", Error, func(f *Facts) { f.Template.Without = []machine.Kernel{{File: "/boot/vmlinuz-7", Version: "7"}} }},
		{"configuration-lost", Warning, func(f *Facts) { f.Template.Changed = []string{"/etc/impermanence/impermanence.toml"} }},
		{"packages-lost", Warning, func(f *Facts) { f.Template.Lost = []string{"htop 1"} }},
		{"package-database", Error, func(f *Facts) { f.Mounts = append(f.Mounts, machine.Mount{Point: "/var"}) }},
		{"old-roots", Error, func(f *Facts) { f.OldRoots = false }},
		{"quotas", Warning, func(f *Facts) { f.Quotas = true }},
		{"nested", Warning, func(f *Facts) { f.Nested = []string{"home/demo/containers", "var/lib/machines"} }},
		{"swap-file", Error, func(f *Facts) { f.Mounts = f.Mounts[:2] }},
		{"hibernation", Warning, func(f *Facts) {
			fstab(root + "UUID=1-2 /persist btrfs subvol=persist,x-initrd.mount 0 0\n")(f)
			f.Running += " resume=UUID=1-2"
		}},
	} {
		t.Run(test.id, func(t *testing.T) {
			f := right()
			test.spoil(&f)
			found := Judge(f)
			if len(found) == 0 || found[0].ID != test.id || found[0].Level != test.level || found[0].Try == "" || found[0].What == "" {
				t.Errorf("got %+v", found)
			}
			if len(found) > 1 && found[1].ID != test.id && test.id != "swap-file" && test.id != "other-root" {
				t.Errorf("one thing is wrong, and others are found: %+v", found[1:])
			}
		})
	}
}

// TestOtherSystemsBesideTheTemplate: a name that begins as the template's makes a subvolume none of this machine's.
func TestOtherSystemsBesideTheTemplate(t *testing.T) {
	device, dir := btrfstest.NewDevice(t, 0), t.TempDir()
	btrfstest.Mount(t, device, dir, "")
	if err := os.Mkdir(filepath.Join(dir, "old_roots"), 0o755); err != nil {
		t.Fatal(err)
	}
	f := right()
	f.Mounts[0].Source = device
	var lines []string
	other := ""
	for _, name := range []string{"@", "old_roots/a", "root-template", "root-template.former", "root-template.next", "root-template-of-another"} {
		at := filepath.Join(dir, name)
		btrfstest.Subvolume(t, at)
		other = strings.TrimSpace(btrfstest.Run(t, "btrfs", "inspect-internal", "rootid", at))
		lines = append(lines, "root=UUID=1-2 rootflags=subvolid="+other)
	}
	f.Boot = []machine.BootFile{{Lines: lines}}
	if err := f.subvolumes(); err != nil || !maps.Equal(f.Others, map[string]bool{other: true}) {
		t.Errorf("others: %v, %v; want %s", f.Others, err, other)
	}
	if !f.Staged {
		t.Error("the staged template was not found")
	}
}

// TestInitrdsAreLookedInto lets the machine's own tool list them.
func TestInitrdsAreLookedInto(t *testing.T) {
	device, root := btrfstest.NewDevice(t, 0), filepath.Join(t.TempDir(), "rescue")
	btrfstest.Mount(t, device, root, "")
	machinetest.Install(t, root, "usr/sbin/update-initramfs", map[string]string{
		"usr/sbin/mkinitramfs": "", "boot/initrd.img-1": "usr/lib/impermanence/impermanence-initrd\n", "boot/initrd.img-2": "other\n",
		"boot/initramfs-linux-fallback.img": "", "boot/initramfs-6.1kdump.img": "", "efi/id/6.1/initrd": "other\n", "boot/efi/id/6.1/initrd.img-6.1": "other\n", "boot/id/6.1/initrd": "other\n",
		"boot/efi/initramfs-linux.img":   "another system's, whose /boot that is\n",
		"etc/impermanence/conf.d/a.toml": "", "etc/impermanence/conf.d/b.json": "{}",
	})
	machinetest.Write(t, filepath.Join(root, "usr/bin/lsinitramfs"), "#!/bin/sh\ncat \"$1\"\n", 0o755)
	changed := time.Now().Add(time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(root, "etc/impermanence/conf.d/b.json"), changed, changed); err != nil {
		t.Fatal(err)
	}
	f, err := Gather(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, i := range f.Initrds {
		if got[i.File] = i.Stub; !i.Known {
			t.Errorf("%s was not listed", i.File)
		}
	}
	want := map[string]bool{
		"/boot/initrd.img-1": true, "/boot/initrd.img-2": false, "/boot/id/6.1/initrd": false, "/efi/id/6.1/initrd": false, "/boot/efi/id/6.1/initrd.img-6.1": false,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !f.ConfigTime.Equal(changed) {
		t.Errorf("the configuration was changed at %v", f.ConfigTime)
	}
}

// TestDracutsCommandLineIsRead asks a tool with the interface of dracut's what is built in.
func TestDracutsCommandLineIsRead(t *testing.T) {
	device, root := btrfstest.NewDevice(t, 0), filepath.Join(t.TempDir(), "root")
	btrfstest.Mount(t, device, root, "")
	machinetest.Install(t, root, "usr/bin/dracut", map[string]string{"boot/initramfs-6.img": "x"})
	const lsinitrd = `#!/bin/sh
case $2 in
"") printf '%s\n' "-rw-r--r-- 1 root root 9 Jan 1 1970 etc/cmdline.d/95root-dev.conf" "drwxr-xr-x 1 root root 0 Jan 1 1970 etc/cmdline.d" usr/lib/impermanence/impermanence-initrd ;;
etc/cmdline.d/95root-dev.conf) echo " root=UUID=1-2 rootflags=subvolid=256" ;;
*) exit 1 ;;
esac
`
	machinetest.Write(t, filepath.Join(root, "usr/bin/lsinitrd"), lsinitrd, 0o755)
	f, err := Gather(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Initrds) != 1 || !f.Initrds[0].Stub || f.Initrds[0].Cmdline != "root=UUID=1-2 rootflags=subvolid=256" {
		t.Errorf("got %+v", f.Initrds)
	}
}
