package setup

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/machinetest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// world is an installed machine on a file system of its own: a tree as the distribution lays it out, small, with an initrd tool
// that only notes what it would put into the initrd.
type world struct {
	device, top, root string
}

// distribution is how one lays a machine out.
type distribution struct {
	name       string
	subvolume  string            // of the root
	subvolumes []string          // all, in the order in which they are made
	mounts     map[string]string // place -> subvolume
	byDefault  bool              // the root is the default subvolume, and no command line names it
	files      map[string]string
	initrdTool string
	rpm        bool // what is installed is in a database of rpm's, not of dpkg's
}

// fstabHead begins the fstab of each.
const fstabHead = "# /etc/fstab: static file system information.\n"

func distributions() []distribution {
	return []distribution{
		{
			name: "debian", subvolume: "@rootfs", subvolumes: []string{"@rootfs"},
			files: map[string]string{
				"etc/os-release":       "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
				"etc/fstab":            fstabHead + "UUID=@UUID@ /               btrfs   defaults,subvol=@rootfs 0       0\nUUID=AAAA-BBBB  /boot/efi       vfat    umask=0077      0       1\n/dev/sr0        /media/cdrom0   udf,iso9660 user,noauto     0       0\n",
				"etc/default/grub":     "GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"\"\n",
				"boot/grub/grub.cfg":   "menuentry 'Debian' {\n\tlinux\t/@rootfs/boot/vmlinuz-6.1.0-1-amd64 root=UUID=@UUID@ ro rootflags=subvol=@rootfs quiet\n\tinitrd\t/@rootfs/boot/initrd.img-6.1.0-1-amd64\n}\n",
				"usr/sbin/sshd":        "",
				"etc/ssh/moduli":       "",
				"home/demo/.profile":   "demo's\n",
				"usr/sbin/mkinitramfs": "",
			},
			initrdTool: "usr/sbin/update-initramfs",
		},
		{
			name: "fedora", subvolume: "root", subvolumes: []string{"root", "home"}, mounts: map[string]string{"/home": "home"},
			files: map[string]string{
				"etc/os-release":                       "PRETTY_NAME=\"Fedora Linux 42\"\n",
				"etc/fstab":                            fstabHead + "UUID=@UUID@ / btrfs subvol=root,compress=zstd:1,x-systemd.device-timeout=0 0 0\nUUID=@UUID@ /home btrfs subvol=home,compress=zstd:1 0 0\n",
				"boot/loader/entries/0a1b-6.14.0.conf": "title Fedora Linux\nversion 6.14.0\nlinux /vmlinuz-6.14.0\noptions root=UUID=@UUID@ ro rootflags=subvol=root rhgb quiet\n",
				"etc/kernel/cmdline":                   "root=UUID=@UUID@ ro rootflags=subvolid=256 rhgb quiet\n",
				"usr/sbin/NetworkManager":              "",
				"etc/NetworkManager/system-connections/home.nmconnection": "secret\n",
			},
			initrdTool: "usr/bin/dracut",
		},
		{
			name: "arch", subvolume: "@", subvolumes: []string{"@", "@home", "@log", "@pkg"},
			mounts: map[string]string{"/home": "@home", "/var/log": "@log", "/var/cache/pacman/pkg": "@pkg"},
			files: map[string]string{
				"etc/os-release":                "PRETTY_NAME=\"Arch Linux\"\n",
				"etc/fstab":                     "UUID=@UUID@\t/         \tbtrfs     \trw,relatime,subvolid=256,subvol=/@\t0 0\nUUID=@UUID@\t/home     \tbtrfs     \trw,relatime,subvol=/@home\t0 0\n",
				"boot/loader/entries/arch.conf": "title Arch Linux\nlinux /vmlinuz-linux\ninitrd /initramfs-linux.img\noptions root=UUID=@UUID@ rw rootflags=subvolid=256 rootfstype=btrfs\n",
				// Of other systems: what boots them stays as it is.
				"boot/loader/entries/other.conf":   "title Other\nlinux /vmlinuz-other\noptions root=PARTUUID=1234 rw\n",
				"boot/loader/entries/windows.conf": "title Windows\nefi /EFI/Microsoft/Boot/bootmgfw.efi\n",
				"etc/mkinitcpio.conf":              "HOOKS=(base systemd autodetect block filesystems)\n",
			},
			initrdTool: "usr/bin/mkinitcpio",
		},
		{
			name: "opensuse", subvolume: "@/.snapshots/1/snapshot",
			subvolumes: []string{"@", "@/.snapshots", "@/.snapshots/1/snapshot", "@/home", "@/var", "@/root"},
			mounts:     map[string]string{"/.snapshots": "@/.snapshots", "/home": "@/home", "/var": "@/var", "/root": "@/root"},
			byDefault:  true,
			files: map[string]string{
				"etc/os-release":          "PRETTY_NAME=\"openSUSE Tumbleweed\"\n",
				"etc/fstab":               "UUID=@UUID@  /  btrfs  defaults  0  0\nUUID=@UUID@  /var  btrfs  subvol=/@/var  0  0\nUUID=@UUID@  /home  btrfs  subvol=/@/home  0  0\n",
				"etc/default/grub":        "GRUB_CMDLINE_LINUX_DEFAULT=\"splash=silent quiet\"\n",
				"boot/grub2/grub.cfg":     "linux /boot/vmlinuz-6.15 root=UUID=@UUID@ splash=silent quiet\n",
				"usr/sbin/sshd":           "",
				"usr/sbin/NetworkManager": "",
				"etc/NetworkManager/system-connections/wifi.nmconnection": "secret\n",
				"usr/lib/sysimage/rpm/rpmdb.sqlite":                       "",
			},
			initrdTool: "usr/bin/dracut", rpm: true,
		},
	}
}

// newWorld installs a distribution, and impermanence as a package does.
func newWorld(t *testing.T, d distribution) *world {
	t.Helper()
	w := &world{device: btrfstest.NewDevice(t, 0), top: filepath.Join(t.TempDir(), "top"), root: filepath.Join(t.TempDir(), "root")}
	btrfstest.Mount(t, w.device, w.top, "subvolid=5")
	for _, name := range d.subvolumes {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(w.top, name)), 0o755))
		btrfstest.Subvolume(t, filepath.Join(w.top, name))
	}
	btrfstest.Mount(t, w.device, w.root, "subvol="+d.subvolume)
	for place, subvolume := range d.mounts {
		btrfstest.Mount(t, w.device, filepath.Join(w.root, place), "subvol="+subvolume)
	}
	if d.byDefault {
		btrfstest.Run(t, "btrfs", "subvolume", "set-default", w.root)
	}
	uuid := strings.TrimSpace(btrfstest.Run(t, "blkid", "-p", "-s", "UUID", "-o", "value", w.device))
	files := map[string]string{}
	for name, text := range d.files {
		files[name] = strings.ReplaceAll(text, "@UUID@", uuid)
	}
	machinetest.Install(t, w.root, d.initrdTool, files)
	if d.rpm {
		must(t, os.RemoveAll(filepath.Join(w.root, "var/lib/dpkg")))
	}
	return w
}

func (w *world) write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	machinetest.Write(t, filepath.Join(w.root, name), text, mode)
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

// plan looks at the machine and plans.
func (w *world) plan(t *testing.T, o Options) (Facts, Plan) {
	t.Helper()
	f, err := Gather(w.root, o)
	must(t, err)
	p, err := MakePlan(f, o)
	must(t, err)
	return f, p
}

// setUp does the whole of it.
func (w *world) setUp(t *testing.T) {
	t.Helper()
	f, p := w.plan(t, Options{})
	must(t, w.machine(t).Apply(context.Background(), f, p))
}

func (w *world) undo(t *testing.T) []string {
	t.Helper()
	f, err := Gather(w.root, Options{})
	must(t, err)
	p, err := PlanUndo(f, Options{})
	must(t, err)
	var notes []string
	m := w.machine(t)
	m.Note = func(text string) { notes = append(notes, text) }
	must(t, m.Undo(context.Background(), f, p))
	return notes
}

func (w *world) machine(t *testing.T) Machine {
	t.Helper()
	return Machine{Root: w.root, Out: t.Output()}
}

// snapshotOf describes the machine as far as a set-up may change it: files, and subvolumes with their ids.
func (w *world) snapshotOf(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range []string{"etc", "boot/loader", "boot/grub", "boot/grub2", "persist"} {
		_ = filepath.WalkDir(filepath.Join(w.root, dir), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return nil //nolint:nilerr // a distribution does not have it
			}
			info, err := entry.Info()
			must(t, err)
			text := []byte{}
			if info.Mode().IsRegular() {
				text, err = os.ReadFile(path)
				must(t, err)
			}
			_, _ = io.WriteString(&b, path[len(w.root):]+" "+info.Mode().String()+"\n"+string(text)+"\n")
			return nil
		})
	}
	b.WriteString(btrfstest.Run(t, "btrfs", "subvolume", "list", "-t", w.top))
	_, path, _ := strings.Cut(btrfstest.Run(t, "btrfs", "subvolume", "get-default", w.top), "path")
	b.WriteString("default" + path)
	// Generations change with every write.
	lines := strings.Split(b.String(), "\n")
	for i, line := range lines {
		if fields := strings.Fields(line); len(fields) == 4 && fields[2] != "-----" {
			lines[i] = fields[0] + " " + fields[3]
		}
	}
	return strings.Join(lines, "\n")
}

// layout is of what a set-up makes in a distribution.
func (d distribution) layout() btrfsops.Layout {
	return btrfsops.Layout{Root: d.subvolume, OldRoots: "old_roots", Template: "root-template"}
}

// boot rolls the root over as early boot does, and mounts it again.
func (w *world) boot(t *testing.T, d distribution, id string) {
	t.Helper()
	btrfstest.Unmount(t, w.root)
	fs, err := btrfsops.OpenDevice(w.device)
	must(t, err)
	report, err := fs.Rollover(context.Background(), btrfsops.RolloverOptions{Layout: d.layout(), BootID: id})
	must(t, err)
	must(t, fs.Close())
	if report.Source != "root-template" {
		t.Fatalf("the fresh root was made from %q", report.Source)
	}
	btrfstest.Mount(t, w.device, w.root, "subvol="+d.subvolume)
	for place, subvolume := range d.mounts {
		btrfstest.Mount(t, w.device, filepath.Join(w.root, place), "subvol="+subvolume)
	}
	btrfstest.Mount(t, w.device, filepath.Join(w.root, "persist"), "subvol=persist")
}

// putInPlace does with the entries what a boot does.
func (w *world) putInPlace(t *testing.T) error {
	t.Helper()
	c, err := config.Load(config.LoadOptions{Root: w.root})
	must(t, err)
	opts := c.In(w.root)
	opts.MountTable = t.TempDir()
	_, err = persist.Apply(t.Context(), opts, c.Entries())
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enabled tells whether a unit is enabled in the tree at root.
func enabled(root, unit string) bool {
	return exec.Command("systemctl", "--root="+root, "--quiet", "is-enabled", unit).Run() == nil
}
