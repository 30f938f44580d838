package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/debian"
)

// TestMachine boots a Debian with a real systemd, with what `make install` puts there, three times from one disk: the daemon
// in its sandbox, its units, PID 1, polkit, reboots. What a boot is to show stands in the scripts in machine/.
func TestMachine(t *testing.T) {
	newMachine(t).bootAll(t, "first", "second", "third")
}

// TestMachineMakesItsID boots the same machine without an id: PID 1 makes one up and covers the volume's with it, until it is
// written down.
func TestMachineMakesItsID(t *testing.T) {
	m := newMachine(t)
	if err := os.Remove(filepath.Join(m.top, "persist/etc/machine-id")); err != nil {
		t.Fatal(err)
	}
	m.bootAll(t, "new-id", "same-id")
}

// TestMachineOnDBusBroker boots the same machine with the other message bus.
func TestMachineOnDBusBroker(t *testing.T) {
	m := newMachine(t)
	btrfstest.Run(t, "chroot", filepath.Join(m.top, "root-template"), "systemctl", "enable", "--force", "dbus-broker.service")
	m.bootAll(t, "broker")
}

// TestMachineWithAnotherFileSystem boots the same machine with one more ephemeral mount point, on a disk of its own.
func TestMachineWithAnotherFileSystem(t *testing.T) {
	m := newMachine(t)
	m.data = btrfstest.NewDevice(t, 0)
	top := filepath.Join(m.dir, "data")
	btrfstest.Mount(t, m.data, top, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(top, "root"))
	writeFile(t, filepath.Join(top, "root/file"), "data\n")
	btrfstest.Unmount(t, top)
	m.config = filepath.Join(m.dir, "config.toml")
	text := readFile(t, "machine/config.toml") + fmt.Sprintf("\n[ephemeral.\"/data\"]\ndevice = %q\n", m.data)
	for _, path := range []string{m.config, filepath.Join(m.top, "root-template/etc/impermanence/impermanence.toml")} {
		writeFile(t, path, text)
	}
	m.bootAll(t, "apart")
}

// bootAll boots once for each script.
func (m *machine) bootAll(t *testing.T, names ...string) {
	t.Helper()
	for n, name := range names {
		for _, line := range m.boot(t, name) {
			if what, ok := strings.CutPrefix(line, "ok "); ok {
				t.Logf("boot %d: %s", n+1, what)
			} else {
				t.Errorf("boot %d: %s", n+1, line)
			}
		}
	}
}

// machine is a disk with a template, a persistent volume, and where its root gets mounted.
type machine struct {
	dir, device, top, root string
	config                 string // of early boot
	data                   string // the device of another file system; "": there is none
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir(), device: btrfstest.NewDevice(t, 3<<30), config: "machine/config.toml"}
	m.top, m.root = filepath.Join(m.dir, "top"), filepath.Join(m.dir, "root")
	btrfstest.Mount(t, m.device, m.top, "subvolid=5")
	for _, name := range []string{"root", "persist", "root-template"} {
		btrfstest.Subvolume(t, filepath.Join(m.top, name))
	}
	for _, dir := range []string{m.root, filepath.Join(m.dir, "run")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.install(t)
	return m
}

// install unpacks Debian into the template, installs the project there, and gives the machine its id.
func (m *machine) install(t *testing.T) {
	t.Helper()
	template, persist := filepath.Join(m.top, "root-template"), filepath.Join(m.top, "persist")
	debian.Unpack(t, debian.Spec{
		Suite:    "bookworm",
		Packages: []string{"systemd", "systemd-sysv", "udev", "dbus", "polkitd", "btrfs-progs", "attr", "kmod", "dbus-broker"},
	}, template)
	makeTarget(t, "install", template)
	for path, text := range map[string]string{
		filepath.Join(template, "etc/impermanence/impermanence.toml"): readFile(t, "machine/config.toml"),
		filepath.Join(template, "etc/systemd/system/check.service"):   readFile(t, "machine/check.service"),
		filepath.Join(template, "etc/systemd/system/early.service"):   readFile(t, "machine/early.service"),
		filepath.Join(template, "etc/machine-id"):                     "",
		filepath.Join(persist, "etc/machine-id"):                      "4c0ffee0d15c4cafa0ddba11deadbeef\n",
		filepath.Join(persist, "etc/replaced"):                        "as it was\n",
		filepath.Join(template, "var/log/journal/.keep"):              "",
		filepath.Join(persist, "check.sh"):                            readFile(t, "machine/check.sh"),
		filepath.Join(persist, "deb.prerm"):                           readFile(t, "../systemd-units/packages/deb.prerm"),
		filepath.Join(persist, "deb.postinst"):                        readFile(t, "../systemd-units/packages/deb.postinst"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, text)
	}
	// The preset says what a package enables. A container has no first-boot questions to answer.
	btrfstest.Run(t, "chroot", template, "systemctl", "preset", "impermanenced.service", "impermanence-persist.service",
		"impermanence-copy-back.service", "impermanence-copy-last.service", "impermanence-prune.timer")
	btrfstest.Run(t, "chroot", template, "systemctl", "enable", "check.service", "early.service")
	btrfstest.Run(t, "chroot", template, "systemctl", "mask", "systemd-firstboot.service", "getty.target", "console-getty.service")
}

// boot runs the machine until it powers off, and returns what its script checked.
func (m *machine) boot(t *testing.T, name string) []string {
	t.Helper()
	result := filepath.Join(m.top, "persist/result")
	writeFile(t, filepath.Join(m.top, "persist/boot.sh"), readFile(t, "machine/"+name+".sh")+"\n# "+name+".sh\n")
	writeFile(t, result, "")
	id := filepath.Join(m.dir, "boot_id")
	writeFile(t, id, btrfstest.Run(t, "cat", "/proc/sys/kernel/random/uuid"))
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	// Its own process namespace ends with it, whatever it started.
	cmd := exec.CommandContext(t.Context(), "timeout", "--kill-after=5", "120",
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"machine/boot.sh", bin, m.device, m.config, m.root, filepath.Join(m.dir, "run"), id, m.data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("boot %s: %v\n%s", name, err, out)
	}
	lines := strings.Split(strings.TrimSpace(readFile(t, result)), "\n")
	if len(lines) < 4 {
		t.Errorf("boot %s checked only %q", name, lines)
	}
	return lines
}
