package boot

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/debian"
)

// countedClock has the machine's clock advance by 1 ns with each instruction of its one processor, and with the time that the processor waits
// for the disk. So a time in its journal is that of a slow machine, of a thousand million instructions a second, and not that of an
// emulator; how fast this machine is and what else it does shows in the waits alone.
var countedClock = []string{"-icount", "shift=0"}

// emulate runs the machine with a kernel of its own, and devices. It has one processor, since two take a fifth more
// of this machine's for a boot. That has no fast strings (ERMS, FSRM), with which a kernel copies and clears memory: each byte is emulated by itself.
func (m machine) emulate(t *testing.T, checks, result string, screen *screen) error {
	t.Helper()
	monitor := filepath.Join(t.TempDir(), "monitor")
	args := []string{
		"-accel", "tcg,tb-size=512", "-cpu", "max,erms=off,fsrm=off", "-smp", "1", "-m", "1024", "-machine", "pc",
		"-nodefaults", "-display", "none", "-no-reboot", "-kernel", m.disk.kernel, "-initrd", m.initrd(t), "-append", m.commandLine(),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console", "-monitor", "unix:" + monitor + ",server=on,wait=off",
		"-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
		"-device", "virtio-serial-pci", "-chardev", "file,id=result,path=" + result, "-device", "virtserialport,chardev=result,name=result",
		"-drive", "if=none,id=checks,format=raw,readonly=on,file=" + checks, "-device", "virtio-blk-pci,drive=checks,serial=checks",
	}
	if m.drive == nil {
		args = append(args, "-drive", "if=none,id=root,format=raw,cache=unsafe,discard=unmap,file="+m.disk.image)
	}
	args = append(args, m.drive...)
	if m.counted {
		args = append(args, countedClock...)
	}
	if m.late == 0 {
		args = append(args, "-device", rootDevice)
	}
	command := func(ctx context.Context) *exec.Cmd { return qemuCommand(ctx, t, args) }
	err := m.power(t, screen, monitor, command)
	if aborted(err) && kernelAlone(screen.text()) {
		screen.clear()
		err = m.power(t, screen, monitor, command)
	}
	return err
}

// rootDevice is how the guest sees the disk.
const rootDevice = "virtio-blk-pci,drive=root,serial=root"

// aborted tells that an emulator ended by an assertion of its own (iotlb_to_section), as one of hundreds does while the kernel sets up PCI.
func aborted(err error) bool {
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		return false
	}
	status, ok := ended.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGABRT
}

// kernelLine is what a kernel, or its emulator, prints.
var kernelLine = regexp.MustCompile(`^(\[ *\d+\.\d+\] |qemu-system|\s*$)`)

// kernelAlone tells from a machine's console that no program has run in it yet. Its disk is as it was: to start it again is to boot it once.
func kernelAlone(console string) bool {
	for line := range strings.Lines(console) {
		if !kernelLine.MatchString(line) {
			return false
		}
	}
	return true
}

func TestKernelAlone(t *testing.T) {
	const kernel = "[    0.056000] tsc: Unable to calibrate against PIT\r\n[    1.961991] acpi PNP0A03:00: fail to add MMCONFIG information\r\n"
	for console, alone := range map[string]bool{
		"": true,
		kernel + "qemu-system-x86_64: system/physmem.c:2671: iotlb_to_section: Assertion `section_index < d->map.sections_nb' failed.\n": true,
		kernel + "\r\nWelcome to Debian GNU/Linux 13 (trixie) dracut-106-6 (Initramfs)!\r\n":                                             false,
		kernel + "Loading, please wait...\r\n":                 false,
		kernel + "[  OK  ] Reached target local-fs.target\r\n": false,
	} {
		if kernelAlone(console) != alone {
			t.Errorf("%q: %t", console, !alone)
		}
	}
}

// plug attaches the disk to a running machine.
func plug(monitor string) error {
	conn, err := net.Dial("unix", monitor)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("device_add " + rootDevice + "\n"))
	return err
}

// qemuCommand is the emulator of Debian 13, in which a machine boots in two thirds of the time of Debian 12's. It runs with its own
// libraries, from where it was unpacked.
func qemuCommand(ctx context.Context, t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	tree := debian.Tree(t, debian.Spec{Suite: "trixie", Packages: []string{"qemu-system-x86"}, Extract: true})
	libraries := filepath.Join(tree, "usr/lib/x86_64-linux-gnu")
	cmd := exec.CommandContext(ctx, filepath.Join(libraries, "ld-linux-x86-64.so.2"), append([]string{
		"--library-path", libraries, filepath.Join(tree, "usr/bin/qemu-system-x86_64"),
		"-L", filepath.Join(tree, "usr/share/qemu"), "-L", filepath.Join(tree, "usr/share/seabios"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "QEMU_MODULE_DIR="+filepath.Join(libraries, "qemu"))
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}

// initrd is the disk's, with what is to be laid over it: of two archives in a row the kernel takes the later one's files.
func (m machine) initrd(t *testing.T) string {
	t.Helper()
	if m.overInitrd == nil {
		return m.disk.initrd
	}
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "initrd")
	lay(t, dir, m.overInitrd)
	base := read(t, m.disk.initrd)
	padding := strings.Repeat("\x00", (4-len(base)%4)%4)
	write(t, path, base+padding+btrfstest.Run(t, "bsdtar", "--format=newc", "--uid=0", "--gid=0", "-c", "-f", "-", "-C", dir, "."))
	return path
}

// lay writes the files of an initrd, programs among them.
func lay(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
