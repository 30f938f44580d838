package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
	"github.com/impermanence/impermanence/test/bustest"
	"github.com/impermanence/impermanence/test/machinetest"
)

// world is a machine for one story: a btrfs file system on a loop device, the root of it mounted at sysroot, a bus, and
// the real programs. Every story has its own.
type world struct {
	t        *testing.T
	programs string // directory of the built programs
	dir      string
	device   string
	bus      string
	daemon   *exec.Cmd
	notify   *net.UnixConn // where the daemon tells its state
	screen   *screen       // of the command that runs in a terminal
}

// build builds the programs of the project into a directory.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "../impermanence", "../impermanenced", "../impermanence-initrd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir
}

// newWorld makes the file system, with a root that has something on it, and the bus.
func newWorld(t *testing.T, programs, bus string) *world {
	t.Helper()
	w := &world{t: t, programs: programs, dir: t.TempDir(), device: btrfstest.NewDevice(t, 0), bus: bus}
	btrfstest.Mount(t, w.device, w.top(), "subvolid=5")
	btrfstest.Subvolume(t, w.top()+"/root")
	btrfstest.Subvolume(t, w.top()+"/persist")
	w.mountRoot()
	t.Cleanup(func() { w.kill(syscall.SIGTERM) })
	return w
}

func (w *world) top() string     { return filepath.Join(w.dir, "run", "top") }
func (w *world) run() string     { return filepath.Join(w.dir, "run") }
func (w *world) sysroot() string { return filepath.Join(w.dir, "sysroot") }

// mountRoot mounts the root and the persistent volume as a boot would.
func (w *world) mountRoot() {
	btrfstest.Mount(w.t, w.device, w.sysroot(), "subvol=root")
	btrfstest.Mount(w.t, w.device, w.sysroot()+"/persist", "subvol=persist")
}

// setup is what a story finds in its environment.
func (w *world) setup(env *testscript.Env) error {
	env.Setenv("PATH", w.programs+":"+os.Getenv("PATH"))
	env.Setenv("DBUS_SYSTEM_BUS_ADDRESS", w.bus)
	env.Setenv("DEVICE", w.device)
	env.Setenv("TOP", w.top())
	env.Setenv("ROOT", w.sysroot())
	env.Setenv("TZ", "UTC")
	return nil
}

// commands are what stories can do beside what testscript gives them.
func (w *world) commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"boot":     w.cmdBoot,
		"daemon":   w.cmdDaemon,
		"device":   w.cmdDevice,
		"exits":    cmdExits,
		"install":  w.cmdInstall,
		"nobody":   w.cmdNobody,
		"rescan":   w.cmdRescan,
		"schema":   w.cmdSchema,
		"set-time": w.cmdSetTime,
		"subvol":   w.cmdSubvol,
		"terminal": w.cmdTerminal,
	}
}

// cmdBoot boots: boot [KERNEL-PARAMETER...]. The root is unmounted, early boot runs, the root is mounted. The kernel
// under the tests boots once, so what the last boot left is dated to another.
func (w *world) cmdBoot(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("boot", neg))
	w.kill(syscall.SIGTERM)
	unmountAll(w.sysroot())
	ts.Check(unix.Setxattr(filepath.Join(w.top(), "root"), "trusted.impermanence.boot_id", []byte("another boot"), 0))
	common := []string{"--config", ts.MkAbs("impermanence.toml"), "--device", w.device, "--sysroot", w.sysroot(), "--run-dir", w.run()}
	cmdline := append([]string{"--cmdline", strings.Join(args, " ")}, common...)
	w.early(ts, append(cmdline, "rollover"))
	w.mountRoot()
	w.early(ts, append(cmdline, "persist"))
}

// early runs early boot. That it fails is for the story to see in status, not here.
func (w *world) early(ts *testscript.TestScript, args []string) {
	out, err := exec.Command(filepath.Join(w.programs, "impermanence-initrd"), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	ts.Logf("impermanence-initrd %s\n%s", strings.Join(args, " "), out)
}

// cmdDaemon starts or stops the daemon, or has it read its configuration again: [!] daemon start|stop|reload|kill.
func (w *world) cmdDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: daemon start|stop|reload|kill")
	}
	switch args[0] {
	case "start":
		ts.Check(w.start(ts))
	case "stop":
		w.kill(syscall.SIGTERM)
	case "reload":
		err := w.ask("Reload", "0")
		if (err != nil) != neg {
			ts.Fatalf("reload: %v", err)
		}
	case "kill":
		w.kill(syscall.SIGKILL)
	default:
		ts.Fatalf("daemon: unknown %q", args[0])
	}
}

// start starts the daemon and waits until it serves, which it tells as it tells systemd.
func (w *world) start(ts *testscript.TestScript) error {
	socket, err := listenNotify(filepath.Join(w.dir, "notify"))
	if err != nil {
		return err
	}
	w.daemon = exec.Command(filepath.Join(w.programs, "impermanenced"), "--config", ts.MkAbs("impermanence.toml"),
		"--device", w.device, "--sysroot", w.sysroot(), "--run-dir", w.run())
	w.daemon.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+w.bus, "NOTIFY_SOCKET="+filepath.Join(w.dir, "notify"))
	w.daemon.Dir = w.dir
	var log bytes.Buffer
	w.daemon.Stdout, w.daemon.Stderr = &log, &log
	if err := w.daemon.Start(); err != nil {
		return err
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the daemon's log:\n%s", log.String())
		}
	})
	w.notify = socket
	if err := waitReady(socket); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, socket) }() // until kill closes it
	return nil
}

// ask calls a method of the daemon that nobody types: Reload is systemd's to call, Rescan a tool's.
func (w *world) ask(method, flags string) error {
	cmd := exec.Command("busctl", "--address="+w.bus, "call", "org.impermanence1", "/org/impermanence1", "org.impermanence1.Manager", method, "t", flags)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", method, err, out)
	}
	return nil
}

// cmdRescan has the daemon look again at what was changed behind its back.
func (w *world) cmdRescan(ts *testscript.TestScript, neg bool, _ []string) {
	ts.Check(refuseNeg("rescan", neg))
	ts.Check(w.ask("Rescan", "0"))
}

// kill ends the daemon that runs, if one does, and waits for its end.
func (w *world) kill(s syscall.Signal) {
	if w.daemon == nil {
		return
	}
	if err := w.daemon.Process.Signal(s); err != nil {
		w.t.Errorf("end the daemon: %v", err)
	}
	if err := w.daemon.Wait(); err != nil && s != syscall.SIGKILL {
		w.t.Errorf("the daemon: %v", err)
	}
	w.daemon = nil
	_ = w.notify.Close()
}

// cmdExits runs a program and checks its exit code: exits CODE PROGRAM [ARG...].
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("exits", neg))
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// cmdDevice makes an empty device and names it in a variable: device NAME.
func (w *world) cmdDevice(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("device", neg))
	if len(args) != 1 {
		ts.Fatalf("usage: device NAME")
	}
	image := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(image, nil, 0o600))
	ts.Check(os.Truncate(image, btrfstest.DefaultSize))
	ts.Setenv(args[0], btrfstest.Attach(w.t, image))
}

// cmdInstall installs a small machine on the root, with an fstab: install.
func (w *world) cmdInstall(ts *testscript.TestScript, neg bool, _ []string) {
	ts.Check(refuseNeg("install", neg))
	machinetest.Install(w.t, w.sysroot(), "usr/sbin/update-initramfs", map[string]string{
		"usr/sbin/mkinitramfs": "", "etc/fstab": w.device + " / btrfs defaults,subvol=root 0 0\n",
	})
}

// cmdNobody runs the command line as a user who may do nothing, and checks its exit code: nobody CODE [ARG...].
func (w *world) cmdNobody(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("nobody", neg))
	user := fmt.Sprintf("--reuid=%d", bustest.Nobody)
	group := fmt.Sprintf("--regid=%d", bustest.Nobody)
	cmdExits(ts, false, append([]string{args[0], "setpriv", user, group, "--clear-groups", "impermanence"}, args[1:]...))
}

// cmdSchema holds the JSON of the last command against a schema: schema NAME.
func (w *world) cmdSchema(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("schema", neg))
	if len(args) != 1 {
		ts.Fatalf("usage: schema NAME")
	}
	validate(w.t, args[0], ts.ReadFile("stdout"))
}

// cmdSetTime changes when an old root was rolled over: set-time ID AGE, the age as time.ParseDuration reads it.
func (w *world) cmdSetTime(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("set-time", neg))
	if len(args) != 2 {
		ts.Fatalf("usage: set-time ID AGE")
	}
	age, err := time.ParseDuration(args[1])
	ts.Check(err)
	found, err := filepath.Glob(filepath.Join(w.top(), "old_roots", "*-"+args[0]))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("set-time: root %s is %v", args[0], found)
	}
	at := time.Now().Add(-age).UTC().Format("2006-01-02T15:04:05.000000Z")
	ts.Check(unix.Setxattr(found[0], "trusted.impermanence.rolled_over", []byte(at), 0))
}

// cmdSubvol makes a subvolume below the top level: subvol PATH.
func (w *world) cmdSubvol(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("subvol", neg))
	ts.Check(ts.Exec("btrfs", append([]string{"subvolume", "create"}, args...)...))
}

// refuseNeg is the error about a "!" before a command that cannot fail as a part of a story.
func refuseNeg(name string, neg bool) error {
	if neg {
		return fmt.Errorf("%s: ! is not supported", name)
	}
	return nil
}

// unmountAll unmounts all that is mounted at dir and below it, innermost first.
func unmountAll(dir string) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) {
		_ = syscall.Unmount(point, 0)
	}
}
