package machine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/machinetest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

func TestCmdlines(t *testing.T) {
	for _, test := range []struct {
		line, booting string
		boots         bool
	}{
		{"root=UUID=1 ro rootflags=subvol=@ quiet", "root=UUID=1 ro rootflags=subvol=@ quiet", true},
		{"root=UUID=1 rootflags=subvol=/@", "root=UUID=1 rootflags=subvol=/@", true},
		{"root=UUID=1  ro", "root=UUID=1 ro rootflags=subvol=@", false},
		{"", "rootflags=subvol=@", false},
		{"ro rootflags=subvolid=256 quiet", "ro rootflags=subvol=@ quiet", false},
		{"rootflags=compress=zstd,subvolid=256,subvol=@ ro", "rootflags=compress=zstd,subvol=@ ro", false},
		{"rootflags=noatime ro rootflags=subvol=@old", "ro rootflags=noatime,subvol=@", false},
	} {
		if got := ParseCmdline(test.line).Boots("@"); got != test.boots {
			t.Errorf("%q boots @: %t", test.line, got)
		}
		if got := WithSubvolume(test.line, "@"); got != test.booting {
			t.Errorf("%q becomes %q, want %q", test.line, got, test.booting)
		}
	}
}

func FuzzCmdline(f *testing.F) {
	f.Add("root=UUID=1 rootflags=compress=zstd,subvolid=256 rootflags=subvol=/x quiet")
	f.Fuzz(func(t *testing.T, line string) {
		changed := WithSubvolume(line, "@")
		if !ParseCmdline(changed).Boots("@") {
			t.Errorf("%q does not boot @, made of %q", changed, line)
		}
		if again := WithSubvolume(changed, "@"); again != changed {
			t.Errorf("changed twice: %q, then %q", changed, again)
		}
	})
}

func TestBootFiles(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) { machinetest.Write(t, filepath.Join(root, name), text, 0o644) }
	put("etc/kernel/cmdline", "root=UUID=1\n quiet\n")
	put("boot/loader/entries/a.conf", "title x\nlinux /y\noptions root=UUID=1 ro\noptions quiet\n")
	put("boot/loader/entries/b.conf", "title x\nlinux /y\n")
	put("boot/loader/entries/windows.conf", "title Windows\nefi /EFI/Microsoft/Boot/bootmgfw.efi\n")
	put("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX='net.ifnames=0'\n")
	put("boot/grub/grub.cfg", "menuentry x {\n\tlinux\t/vmlinuz root=UUID=1 ro  \n}\nlinuxefi /k root=UUID=2\nlinux_foo no\nlinux16 /boot/memtest86+x64.bin console=ttyS0\nlinux /k $kernelopts\n")
	found, err := BootFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	type summary struct {
		Path    string
		Lines   []string
		Booting string
	}
	var got []summary
	for _, f := range found {
		got = append(got, summary{f.Path, f.Lines, f.Booting("@")})
	}
	want := []summary{
		{"/etc/kernel/cmdline", []string{"root=UUID=1 quiet"}, "root=UUID=1 quiet rootflags=subvol=@\n"},
		{"/boot/loader/entries/a.conf", []string{"root=UUID=1 ro quiet"}, "title x\nlinux /y\noptions root=UUID=1 ro\noptions quiet rootflags=subvol=@\n"},
		{"/boot/loader/entries/b.conf", []string{""}, "title x\nlinux /y\noptions rootflags=subvol=@\n"},
		{"/boot/loader/entries/windows.conf", nil, found[3].Text},
		{"/boot/grub/grub.cfg", []string{"root=UUID=1 ro", "root=UUID=2", "$kernelopts"}, found[4].Text},
		{"/etc/default/grub", nil, "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"net.ifnames=0 rootflags=subvol=@\"\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, test := range []struct {
		line string
		want bool
	}{
		{"root=UUID=1-2 ro", true},
		{"root=UUID=other ro", false},
		{"root=/dev/sda2", true},
		{"root=/dev/sdb2", false},
		{"quiet", true},
		{"root=LABEL=mine ro", true},
		{"root=LABEL=other ro", false},
		{"root=PARTUUID=3-4 ro", false},
	} {
		if got := For(test.line, "1-2", []string{"/dev/sda2", "LABEL=mine"}); got != test.want {
			t.Errorf("%q is for it: %t", test.line, got)
		}
	}
}

// TestCommentsInACmdline: they are of no kernel, and stay comments when the command line is changed, as mkinitcpio reads it.
func TestCommentsInACmdline(t *testing.T) {
	for text, want := range map[string][2]string{ // what it says, and what it becomes
		"# mine\nroot=UUID=1 rw\n# quiet\nsplash":                {"root=UUID=1 rw splash", "# mine\n# quiet\nroot=UUID=1 rw splash rootflags=subvol=@\n"},
		"root=UUID=1\n#rootflags=subvol=@ rootflags=x":           {"root=UUID=1", "#rootflags=subvol=@ rootflags=x\nroot=UUID=1 rootflags=subvol=@\n"},
		"\n# was:\n# rootflags=subvol=@\nrootflags=subvolid=256": {"rootflags=subvolid=256", "# was:\n# rootflags=subvol=@\nrootflags=subvol=@\n"},
	} {
		f := NewBootFile("/etc/kernel/cmdline", PlainCmdline, text)
		if got := [2]string{f.Lines[0], f.Booting("@")}; got != want {
			t.Errorf("%q is read, and changed, as %q, want %q", text, got, want)
		}
	}
}

// The shell sees what is added, and what was there, however that is written.
func TestGrubDefaults(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "rootflags=subvol=@"},
		{"#GRUB_CMDLINE_LINUX=x\n", "rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX=\"\"\n", "rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX='a b'\nGRUB_CMDLINE_LINUX_DEFAULT=c\n", "a b rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX=\"rd.luks.name=1=root\" # needed\n", "rd.luks.name=1=root rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX=\"dyndbg='file x +p' a\"", "dyndbg='file x +p' a rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX=a\nexport GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX b\"\n", "a b rootflags=subvol=@"},
		{"GRUB_CMDLINE_LINUX=a\nGRUB_CMDLINE_LINUX+=' b'\n", "a b rootflags=subvol=@"},
	} {
		file := filepath.Join(t.TempDir(), "grub")
		machinetest.Write(t, file, NewBootFile(grubShell, GrubDefaults, test.text).Booting("@"), 0o644)
		got := btrfstest.Run(t, "bash", "-c", `. "$1"; echo "$GRUB_CMDLINE_LINUX"`, "bash", file)
		if strings.TrimSpace(got) != test.want {
			t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
		}
	}
}

// TestNames asks a real partition.
func TestNames(t *testing.T) {
	device := btrfstest.NewDevice(t, 0)
	btrfstest.Run(t, "btrfs", "filesystem", "label", device, "mine")
	names, err := Names(t.Context(), device)
	if want := []string{device, "LABEL=mine", "/dev/disk/by-label/mine"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q, %v", names, err)
	}
	for device, want := range map[string][]string{
		"/dev/mapper/my--group-the--root": {"/dev/mapper/my--group-the--root", "/dev/my-group/the-root"},
		"/dev/mapper/root":                {"/dev/mapper/root"},
		"/dev/mapper/luks-1-2":            {"/dev/mapper/luks-1-2"},
	} {
		if names, err := Names(t.Context(), device); err != nil || !slices.Equal(names, want) {
			t.Errorf("of %s got %q, %v", device, names, err)
		}
	}
}

// TestNamesOfEachDevice: which of several a mount table shows is the kernel's choice, and root= may name any.
func TestNamesOfEachDevice(t *testing.T) {
	first, second, mounted := btrfstest.NewDevice(t, 0), btrfstest.NewDevice(t, 0), t.TempDir()
	btrfstest.Mount(t, first, mounted, "subvolid=5")
	btrfstest.Run(t, "btrfs", "device", "add", "--force", second, mounted)
	for _, device := range []string{first, second} {
		if names, err := Names(t.Context(), device); err != nil || !slices.Contains(names, first) || !slices.Contains(names, second) {
			t.Errorf("of %s got %q, %v", device, names, err)
		}
	}
}

// TestWhatCantBeReadIsNotEmpty: blkid says the same of both.
func TestWhatCantBeReadIsNotEmpty(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	machinetest.Write(t, file, strings.Repeat("\x00", 1<<16), 0o644)
	for _, empty := range []string{file, file + "1"} { // the latter as a partition that the kernel does not show
		if found, err := Probe(t.Context(), empty); err != nil || len(found) > 0 {
			t.Errorf("of an empty one it says %v, %v", found, err)
		}
	}
	if found, err := Probe(t.Context(), "/proc/self/mem"); err == nil { // reading it is EIO
		t.Errorf("of one that fails it says %v", found)
	}
}

// TestTwoFileSystemsOnADevice: what is left of a former one makes blkid say nothing, and why.
func TestTwoFileSystemsOnADevice(t *testing.T) {
	dir := t.TempDir()
	btrfstest.Run(t, "sh", "-c", `cd "$1"; truncate -s 128M a b; mkfs.btrfs -q a; mkfs.ext4 -q b; dd if=b of=a bs=1024 skip=1 seek=1 count=1 conv=notrunc`, "sh", dir)
	if found, err := Probe(t.Context(), dir+"/a"); err == nil || !strings.Contains(err.Error(), "wipefs(8)") {
		t.Errorf("it says %v, %v", found, err)
	}
}

// TestTheToolThatMakesInitrds: Debian's dracut leaves a part of initramfs-tools installed.
func TestTheToolThatMakesInitrds(t *testing.T) {
	for want, files := range map[string][]string{
		"":                {"usr/sbin/mkinitramfs"},
		"initramfs-tools": {"usr/sbin/mkinitramfs", "usr/sbin/update-initramfs", "usr/bin/dracut"},
		"dracut":          {"usr/sbin/mkinitramfs", "usr/bin/dracut"},
		"mkinitcpio":      {"usr/bin/mkinitcpio", "usr/bin/dracut"},
	} {
		root := t.TempDir()
		for _, file := range files {
			machinetest.Write(t, filepath.Join(root, file), "", 0o755)
		}
		if tool, found := FindInitrdTool(root); tool.Name != want || found != (want != "") {
			t.Errorf("of %q it finds %q", files, tool.Name)
		}
	}
}

func TestKernels(t *testing.T) {
	root := t.TempDir()
	image := make([]byte, 0x1000)
	copy(image[signatureAt:], signature)
	binary.LittleEndian.PutUint16(image[versionAt:], 0x600)
	copy(image[0x800:], "6.12.1-arch1-1 (linux@archlinux) #1 SMP\x00more")
	for name, text := range map[string]string{
		"boot/vmlinuz-linux": string(image), "boot/vmlinuz-6.1.0-1-amd64": "no header", "boot/initrd.img-6.1.0": "", "boot/vmlinuz": "",
		"boot/0123/6.15.0/linux": "", "boot/vmlinuz-0-rescue-0123": string(image), "boot/0123/0-rescue/linux": string(image), "usr/lib/modules/6.1.0-1-amd64/modules.dep": "", "usr/lib/modules/6.0/other": "",
	} {
		machinetest.Write(t, filepath.Join(root, name), text, 0o644)
	}
	kernels, modules := BootKernels(root), Kernels(root)
	want := []Kernel{{"/boot/0123/6.15.0/linux", "6.15.0"}, {"/boot/vmlinuz-6.1.0-1-amd64", "6.1.0-1-amd64"}, {"/boot/vmlinuz-linux", "6.12.1-arch1-1"}}
	if diff := cmp.Diff(want, kernels); diff != "" {
		t.Errorf("kernels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"6.1.0-1-amd64"}, modules); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Kernel{want[0], want[2]}, Without(kernels, modules)); diff != "" {
		t.Errorf("without modules (-want +got):\n%s", diff)
	}
}

func TestPackages(t *testing.T) {
	debian, arch := t.TempDir(), t.TempDir()
	const status = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n Status: fake\n\n" +
		"Package: b\nStatus: deinstall ok config-files\nVersion: 1\n"
	machinetest.Write(t, filepath.Join(debian, "var/lib/dpkg/status"), status, 0o644)
	machinetest.Write(t, filepath.Join(arch, "var/lib/pacman/local/lib32-glibc-2.40+r1-1/desc"), "", 0o644)
	machinetest.Write(t, filepath.Join(arch, "var/lib/pacman/local/ALPM_DB_VERSION"), "9", 0o644)
	machinetest.Write(t, filepath.Join(arch, "var/lib/dpkg/status"), "", 0o644) // dpkg is a package there
	for root, want := range map[string]Packages{
		debian:      {"dpkg", "/var/lib/dpkg/status", map[string]string{"a:amd64": "1:2-3"}},
		arch:        {"pacman", "/var/lib/pacman/local", map[string]string{"lib32-glibc": "2.40+r1-1"}},
		t.TempDir(): {},
	} {
		got, err := ReadPackages(root)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	old, new := Packages{Versions: map[string]string{"a": "1", "b": "1"}}, Packages{Versions: map[string]string{"a": "2", "b": "1", "c": "1"}}
	if diff := cmp.Diff([]string{"a 2", "c 1"}, new.Missing(old)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestMounts(t *testing.T) {
	device := btrfstest.NewDevice(t, 0)
	top, root := filepath.Join(t.TempDir(), "top"), filepath.Join(t.TempDir(), "the root")
	btrfstest.Mount(t, device, top, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(top, "@"))
	btrfstest.Subvolume(t, filepath.Join(top, "@home"))
	machinetest.Write(t, filepath.Join(top, "@/data/x"), "", 0o644)
	btrfstest.Mount(t, device, root, "subvol=@")
	btrfstest.Mount(t, device, filepath.Join(root, "home"), "subvol=@home")
	inner := filepath.Join(root, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	btrfstest.Run(t, "mount", "--bind", filepath.Join(root, "data"), inner)
	t.Cleanup(func() { btrfstest.Unmount(t, inner) })
	mounts, err := Mounts(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []Mount
	for _, m := range mounts {
		got = append(got, Mount{Point: m.Point, Type: m.Type, Source: m.Source, Subvolume: m.Subvolume, Inner: m.Inner})
	}
	want := []Mount{
		{"/", "btrfs", device, "@", "", ""}, {"/home", "btrfs", device, "@home", "", ""}, {"/inner", "btrfs", device, "@", "data", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, point := range map[string]string{"/": "/", "/home": "/home", "/home/demo": "/home", "/homes": "/"} {
		if on := On(mounts, path); on.Point != point {
			t.Errorf("%s is on %s", path, on.Point)
		}
	}
	if _, err := Mounts(t.TempDir()); !errors.Is(err, ErrNotMounted) {
		t.Errorf("a plain directory: %v", err)
	}
	if binds := Binds("/x", []Mount{{Point: "/"}, {Point: "/run/user/1"}, {Point: "/boot"}, {Point: "/net", Type: "autofs"}}); len(binds) != 1 || binds[0] != (Bind{"/x/boot", "/boot"}) {
		t.Errorf("binds are %+v", binds)
	}
}

func TestATreeRunsPrograms(t *testing.T) {
	root := t.TempDir()
	machinetest.Install(t, root, "usr/bin/dracut", nil)
	var out bytes.Buffer
	script := "cat /proc/1/cmdline >/dev/null && ls /dev/null /sys/fs && echo in $SYSTEMD_OFFLINE && echo left >/tmp/left && readlink /proc/self"
	if err := RunIn(context.Background(), root, &out, "sh", "-c", script); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "/dev/null\n") || !strings.Contains(out.String(), "in 1\n") {
		t.Errorf("it printed %q", out.String())
	}
	if _, err := os.Stat(filepath.Join(root, "tmp/left")); err == nil {
		t.Error("what it left in /tmp is in the tree")
	}
	if mounts := btrfstest.Run(t, "cat", "/proc/self/mountinfo"); strings.Contains(mounts, root) {
		t.Error("a mount is left")
	}
	if err := RunIn(context.Background(), root, &out, "sh", "-c", "exit 3"); err == nil {
		t.Error("a program that failed did not fail")
	}
}

func TestPathsInATree(t *testing.T) {
	root := t.TempDir()
	machinetest.Write(t, filepath.Join(root, "real/boot/x"), "", 0o644)
	for link, to := range map[string]string{"boot": "/real/boot", "rel": "real/../real/boot", "up": "../../../../real", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for at, want := range map[string]string{"/boot/x": "/real/boot/x", "/rel": "/real/boot", "/up/boot": "/real/boot", "/real": "/real"} {
		got, err := resolveIn(root, at)
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("%s is %s, %v", at, got, err)
		}
	}
	if _, err := resolveIn(root, "/loop"); err == nil {
		t.Error("a loop was followed to its end")
	}
	if _, err := resolveIn(root, "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}
