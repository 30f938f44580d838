package boot

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bootTimeout is how long a machine may take from power on to power off. An emulated one takes a minute, and several with company, or
// when its instructions are counted.
const bootTimeout = 15 * time.Minute

// artifactsEnv names the directory that keeps what machines printed.
const artifactsEnv = "IMPERMANENCE_TEST_ARTIFACTS"

// machine is one start of a machine.
type machine struct {
	disk    disk
	name    string // of its transcript
	script  string // in guest/, without .sh; "" when the boot is not to come so far
	says    string // what the script is to find in the status
	cmdline string // added to the kernel's

	overInitrd map[string]string // files laid over those of the initrd
	contained  bool              // it is a container, see there
	stops      bool              // its services are stopped at the end; the others' file systems are unmounted at once
	until      string            // the power is cut when the console has said this

	// For an emulated one alone:
	drive   []string      // arguments of the emulator instead of the disk's own
	late    time.Duration // the disk is plugged in so long after
	waits   string        // the console has said this
	asks    string        // the console asks this, again and again, and is given the answers
	answers []string
	cutAt   int  // the power is cut when the console has said so many bytes
	counted bool // its clock counts instructions, see countedClock
}

// kernelCommandLine is what every machine starts with; beside the console it only spares an emulated machine what takes time and is not
// looked at.
const kernelCommandLine = "ro console=ttyS0 TERM=dumb SYSTEMD_COLORS=0 systemd.show_status=yes loglevel=5 " +
	"mitigations=off audit=0 apparmor=0 nokaslr cryptomgr.notests random.trust_cpu=on"

// commandLine is what the boot loader tells the kernel.
func (m machine) commandLine() string { return m.disk.root + " " + kernelCommandLine + " " + m.cmdline }

// run starts the machine and waits until it is off. It returns what the script in it printed, and what was on its console.
func (m machine) run(t *testing.T) (lines []string, console string) {
	t.Helper()
	dir := t.TempDir()
	checks, result := filepath.Join(dir, "checks"), filepath.Join(dir, "result")
	m.writeChecks(t, checks)
	write(t, result, "") // the power may be cut before anything is
	transcript := m.transcript(t)
	defer func() { _ = transcript.Close() }()
	_, _ = transcript.WriteString("kernel command line: " + m.commandLine() + "\n\n")
	screen := &screen{news: make(chan struct{}, 1), transcript: transcript}
	var err error
	if m.contained {
		// A test of its own, that gives the loop device back at its end: two for one disk would be two file systems with one UUID.
		t.Run("contained", func(t *testing.T) { err = m.contain(t, checks, result, screen) })
	} else {
		err = m.emulate(t, checks, result, screen)
	}
	text := read(t, result)
	_, _ = transcript.WriteString("\n\n" + text)
	if err != nil {
		t.Errorf("%s: %v\n%s", m.name, err, tail(screen.text()))
	}
	return strings.Split(strings.TrimSpace(text), "\n"), screen.text()
}

// contain runs it as a container.
func (m machine) contain(t *testing.T, checks, result string, screen *screen) error {
	t.Helper()
	c := newContainer(t, m.disk, m.overInitrd)
	c.mountVolume(t, m.disk)
	return m.power(t, screen, "", func(ctx context.Context) *exec.Cmd {
		return c.command(ctx, t, m.commandLine(), checks, result, "systemd.show_status=yes")
	})
}

// power runs what runs a machine until that is off.
func (m machine) power(t *testing.T, screen *screen, monitor string, command func(context.Context) *exec.Cmd) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	cmd := command(ctx)
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
	t.Logf("%s: the machine ran for %s, and took %s of a processor", m.name, time.Since(start).Round(100*time.Millisecond),
		(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(100*time.Millisecond))
	switch {
	case <-wasCut:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case m.until != "":
		return errNotSaid
	case m.cutAt > 0 && aborted(err):
		return nil // that cut the power, too
	default:
		return err
	}
}

// attend does to a running machine what is to be done to it, and tells whether it cut the power.
func (m machine) attend(screen *screen, keyboard io.Writer, monitor string, off <-chan struct{}, cmd *exec.Cmd) bool {
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
	for _, answer := range m.answers {
		if !screen.await(m.asks, off) {
			return false
		}
		_, _ = io.WriteString(keyboard, answer+"\n")
	}
	switch {
	case m.cutAt > 0:
		return screen.awaitLength(m.cutAt, off) && cmd.Process.Kill() == nil
	case m.until != "":
		return screen.await(m.until, off) && cmd.Process.Kill() == nil
	}
	// Nobody is there to answer.
	if screen.await("emergency mode", off) {
		_ = cmd.Process.Kill()
	}
	return false
}

// writeChecks makes the disk with the script of this boot: an archive.
func (m machine) writeChecks(t testing.TB, path string) {
	t.Helper()
	script := ""
	if m.script != "" {
		script = read(t, filepath.Join("guest", m.script+".sh")) + "\necho end\n"
	}
	off := "--force"
	if m.stops {
		off = ""
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, text := range map[string]string{
		"check.sh": read(t, "../machine/check.sh") + read(t, "guest/check.sh"),
		"boot.sh":  script,
		"says":     m.says,
		"off":      off,
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
func (m machine) transcript(t testing.TB) *os.File {
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
