package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demoImage is what the demo's loop device lies on, as the kernel names it.
const demoImage = "/mnt/impermanence-demo.img"

// TestDemoTellsTheStory runs the demo to its end, and holds README.md against it.
func TestDemoTellsTheStory(t *testing.T) {
	build(t)
	demo := startDemo(t)
	out, err := io.ReadAll(demo.out)
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.cmd.Wait(); err != nil {
		t.Errorf("the demo ends with %v:\n%s", err, out)
	}
	rows := regexp.MustCompile(`(?m)^  \S*✓`).FindAll(out, -1)
	if len(rows) < 12 {
		t.Errorf("the table at the end has %d rows", len(rows))
	}
	checkReadme(t, string(out))
	demo.left(t)
}

// TestDemoInterruptedLeavesNothing ends it at different points, as a person at a keyboard, a supervisor and the kernel would.
func TestDemoInterruptedLeavesNothing(t *testing.T) {
	// What ignores the hangup from its start on can't be interrupted by it, and a test under nohup would pass that on.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	build(t)
	tests := []struct {
		at     string
		signal syscall.Signal
		group  bool // to all of them, as the terminal does
	}{
		{"$ mount -o subvolid=5", syscall.SIGINT, true},
		{"$ impermanence-initrd rollover", syscall.SIGTERM, false},
		{"== The second boot", syscall.SIGKILL, false},
		{"== The daemon", syscall.SIGHUP, false},
		{"$ impermanence status", syscall.SIGINT, true},
		{"$ impermanence prune", syscall.SIGKILL, false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%v at %s", test.signal, test.at), func(t *testing.T) {
			demo := startDemo(t)
			demo.readTo(t, test.at)
			pid := demo.cmd.Process.Pid
			if test.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, test.signal); err != nil {
				t.Fatalf("signal the demo: %v", err)
			}
			if _, err := io.Copy(io.Discard, demo.out); err != nil {
				t.Fatal(err)
			}
			if err := demo.cmd.Wait(); err == nil {
				t.Error("an interrupted demo ends with success")
			}
			demo.left(t)
		})
	}
}

// demo is one run of it.
type demo struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	mark   string // stands in the environment of each of its processes
	tmp    string
	mounts []byte
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	d := &demo{cmd: exec.Command("./demo.sh"), mark: "DEMO_MARK=" + t.Name(), tmp: t.TempDir(), mounts: hostMounts(t)}
	d.cmd.Env = append(os.Environ(), d.mark, "TMPDIR="+d.tmp)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = d.cmd.Stdout
	d.out = bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *demo) readTo(t *testing.T, prefix string) {
	t.Helper()
	var read bytes.Buffer
	for {
		line, err := d.out.ReadString('\n')
		read.WriteString(line)
		if err != nil {
			t.Fatalf("the demo ended before %q: %v\n%s", prefix, err, read.String())
		}
		if strings.Contains(line, prefix) {
			return
		}
	}
}

// left fails the test when something of the demo is still there. The kernel frees what a killed process held from a work
// queue that tells nobody when it is done, so it is asked again for a while.
func (d *demo) left(t *testing.T) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		found := d.find(t)
		if found == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("the demo leaves behind: %s", found)
		}
	}
}

// find names something of the demo that is there, or nothing.
func (d *demo) find(t *testing.T) string {
	t.Helper()
	for _, path := range globbed(t, "/sys/block/loop*/loop/backing_file") {
		if backing, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(backing), demoImage) {
			return "a loop device, " + path
		}
	}
	for _, path := range globbed(t, "/proc/[0-9]*/environ") {
		if environment, err := os.ReadFile(path); err == nil && slices.Contains(strings.Split(string(environment), "\x00"), d.mark) {
			return "a process, " + filepath.Dir(path)
		}
	}
	if mounts := hostMounts(t); bytes.Contains(mounts, []byte("impermanence-demo")) || (bytes.Contains(mounts, []byte(" /mnt ")) && !bytes.Contains(d.mounts, []byte(" /mnt "))) {
		return "a mount"
	}
	if entries, err := os.ReadDir(d.tmp); err != nil || len(entries) > 0 {
		return fmt.Sprintf("files in %s: %v %v", d.tmp, entries, err)
	}
	if _, err := os.Lstat(demoImage); err == nil {
		return demoImage
	}
	return ""
}

// hostMounts are the mounts of the machine, outside of the namespace that tests run in.
func hostMounts(t *testing.T) []byte {
	t.Helper()
	mounts, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return mounts
}

// build makes the binaries that the demo runs.
func build(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("make", "-C", "..", "build").CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
}
