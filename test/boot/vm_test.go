package boot

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/debian"
)

// bootTimeout is how long a machine may take from power on to power off. An emulated one takes half a minute, and several with company, or
// when its instructions are counted.
const bootTimeout = 15 * time.Minute

// artifactsEnv names the directory that keeps what machines printed.
const artifactsEnv = "IMPERMANENCE_TEST_ARTIFACTS"

// vm is one start of a machine.
type vm struct {
	disk    disk
	name    string // of its transcript
	script  string // in guest/, without .sh; "" when the boot is not to come so far
	says    string // what the script is to find in the status
	cmdline string // added to the kernel's

	overInitrd map[string]string // files laid over those of the initrd
	drive      []string          // arguments of qemu instead of the disk's own
	late       time.Duration     // the disk is plugged in so long after
	waits      string            // the console has said this
	asks       string            // the console asks this, and is given the answer
	answer     string
	until      []string // the power is cut when the console has said these, one after the other
	cutAt      int      // or so many bytes
	counted    bool     // its clock counts instructions, see countedClock
}

// countedClock has the machine's clock advance by 1 ns with each instruction of its one processor, and with the time that the processor waits
// for the disk. So a time in its journal is that of a slow machine, of a thousand million instructions a second, and not that of an
// emulator; how fast this machine is and what else it does shows in the waits alone.
var countedClock = []string{"-accel", "tcg,thread=single,tb-size=512", "-smp", "1", "-icount", "shift=0"}

// realClock has the machine boot as fast as can be.
var realClock = []string{"-accel", "tcg,thread=multi,tb-size=512", "-smp", "2"}

// kernelCommandLine is what every machine starts with; beside the console it only spares an emulated machine what takes time and is not
// looked at.
const kernelCommandLine = "ro console=ttyS0 TERM=dumb SYSTEMD_COLORS=0 systemd.show_status=yes loglevel=5 " +
	"mitigations=off audit=0 apparmor=0 nokaslr cryptomgr.notests random.trust_cpu=on"

// run starts the machine and waits until it is off. It returns what the script in it printed, and what was on its console.
func (m vm) run(t *testing.T) (lines []string, console string) {
	t.Helper()
	dir := t.TempDir()
	result, checks, monitor := filepath.Join(dir, "result"), filepath.Join(dir, "checks"), filepath.Join(dir, "monitor")
	m.writeChecks(t, checks)
	write(t, result, "") // the power may be cut before the emulator makes it
	cmdline := m.disk.root + " " + kernelCommandLine + " " + m.cmdline
	args := []string{
		"-cpu", "max", "-m", "1024", "-machine", "pc",
		"-nodefaults", "-display", "none", "-no-reboot", "-kernel", m.disk.kernel, "-initrd", m.initrd(t), "-append", cmdline,
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
	} else {
		args = append(args, realClock...)
	}
	if m.late == 0 {
		args = append(args, "-device", rootDevice)
	}
	transcript := m.transcript(t)
	defer func() { _ = transcript.Close() }()
	screen := &screen{news: make(chan struct{}, 1), transcript: transcript}
	_, _ = transcript.WriteString("kernel command line: " + cmdline + "\n\n")
	err := m.power(t, args, screen, monitor)
	if aborted(err) && kernelAlone(screen.text()) {
		screen.clear()
		err = m.power(t, args, screen, monitor)
	}
	text := read(t, result)
	_, _ = transcript.WriteString("\n\n" + text)
	if err != nil {
		t.Errorf("%s: %v\n%s", m.name, err, tail(screen.text()))
	}
	return strings.Split(strings.TrimSpace(text), "\n"), screen.text()
}

// rootDevice is how the guest sees the disk.
const rootDevice = "virtio-blk-pci,drive=root,serial=root"

// power runs an emulator until its machine is off. One machine at a time, across all the tests here: of two, each takes more than twice
// as long.
func (m vm) power(t *testing.T, args []string, screen *screen, monitor string) error {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(debian.Cache(t), "machine.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	cmd := qemuCommand(ctx, t, args)
	cmd.Stdout, cmd.Stderr = screen, screen
	keyboard, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	off := make(chan struct{})
	wasCut := make(chan bool, 1)
	go func() { wasCut <- m.attend(screen, keyboard, monitor, off, cmd) }()
	err = cmd.Wait()
	close(off)
	t.Logf("%s: the machine ran for %s", m.name, time.Since(start).Round(time.Second))
	switch {
	case <-wasCut:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case len(m.until) > 0:
		return errNotSaid
	case m.cutAt > 0 && aborted(err):
		return nil // that cut the power, too
	default:
		return err
	}
}

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

// attend does to a running machine what is to be done to it, and tells whether it cut the power.
func (m vm) attend(screen *screen, keyboard io.Writer, monitor string, off <-chan struct{}, cmd *exec.Cmd) bool {
	if m.late > 0 {
		if !screen.await(m.waits, off) {
			return false
		}
		select {
		case <-time.After(m.late):
		case <-off:
			return false
		}
		if err := plug(monitor); err != nil {
			_, _ = screen.Write([]byte("plug the disk in: " + err.Error()))
			return false
		}
	}
	if m.asks != "" {
		if !screen.await(m.asks, off) {
			return false
		}
		_, _ = io.WriteString(keyboard, m.answer+"\n")
	}
	for _, text := range m.until {
		if !screen.await(text, off) {
			return false
		}
	}
	switch {
	case m.cutAt > 0:
		return screen.awaitLength(m.cutAt, off) && cmd.Process.Kill() == nil
	case m.until != nil:
		return cmd.Process.Kill() == nil
	}
	// Nobody is there to answer.
	if screen.await("emergency mode", off) {
		_ = cmd.Process.Kill()
	}
	return false
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
func (m vm) initrd(t *testing.T) string {
	t.Helper()
	if m.overInitrd == nil {
		return m.disk.initrd
	}
	dir, path := t.TempDir(), filepath.Join(t.TempDir(), "initrd")
	for name, text := range m.overInitrd {
		write(t, filepath.Join(dir, name), text)
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	base := read(t, m.disk.initrd)
	padding := strings.Repeat("\x00", (4-len(base)%4)%4)
	write(t, path, base+padding+btrfstest.Run(t, "bsdtar", "--format=newc", "--uid=0", "--gid=0", "-c", "-f", "-", "-C", dir, "."))
	return path
}

// writeChecks makes the disk with the script of this boot: an archive.
func (m vm) writeChecks(t testing.TB, path string) {
	t.Helper()
	script := ""
	if m.script != "" {
		script = read(t, filepath.Join("guest", m.script+".sh")) + "\necho end\n"
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, text := range map[string]string{
		"check.sh": read(t, "../machine/check.sh") + read(t, "guest/check.sh"),
		"boot.sh":  script,
		"says":     m.says,
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, archive.String())
}

// transcript is the file that keeps what the machine prints.
func (m vm) transcript(t testing.TB) *os.File {
	t.Helper()
	dir := os.Getenv(artifactsEnv)
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, strings.NewReplacer("/", "-", " ", "-").Replace(m.name)+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}
