package daemon_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fsnotify/fsnotify"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
)

// startCopyBack starts the service, below a command if one is given, and waits until it is ready.
func (s *service) startCopyBack(t *testing.T, below ...string) *exec.Cmd {
	t.Helper()
	command := append(below, s.binary, "copy-back", "--config="+s.machine.config, "--sysroot="+s.machine.sysroot, "--run-dir="+s.machine.runDir)
	process := exec.Command(command[0], command[1:]...)
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	s.systemd.until(t, "READY=1")
	return process
}

// copyLast does what is done after the service when that did not end well.
func (s *service) copyLast(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(s.binary, "copy-last", "--config="+s.machine.config, "--sysroot="+s.machine.sysroot, "--run-dir="+s.machine.runDir).CombinedOutput(); err != nil {
		t.Fatalf("copy-last: %v: %s", err, out)
	}
}

// replaced writes a file of passwords anew, beside itself, and renames it into place, as passwd(1) does.
func (m *machine) replaced(t testing.TB, text string) {
	t.Helper()
	const path = "etc/shadow"
	m.write(t, path+".new", text)
	must(t, os.Rename(filepath.Join(m.sysroot, path+".new"), filepath.Join(m.sysroot, path)))
}

// TestCopyBackService: what is replaced while it runs is copied back while it runs; what changed while it did not is copied
// back at its next start, what changed last at its end; and it ends at once where there is nothing to watch.
func TestCopyBackService(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n")
	m.write(t, "persist/etc/shadow", "before")
	d := m.start(t)
	id, err := d.ApplyPersistence(t.Context(), anybody, nil)
	finish(t, d, id, err)
	s := newService(t, m)

	process := s.startCopyBack(t)
	kept := filepath.Join(m.sysroot, "persist/etc/shadow")
	changes, err := fsnotify.NewWatcher()
	must(t, err)
	defer changes.Close()
	must(t, changes.Add(filepath.Dir(kept)))
	m.replaced(t, "while it runs")
	for text := ""; text != "while it runs"; {
		<-changes.Events
		data, err := os.ReadFile(kept)
		must(t, err)
		text = string(data)
	}
	must(t, process.Process.Kill())
	_ = process.Wait()

	m.replaced(t, "while it was dead")
	process = s.startCopyBack(t)
	m.wantText(t, "persist/etc/shadow", "while it was dead")

	m.replaced(t, "at the end")
	must(t, process.Process.Signal(syscall.SIGTERM))
	must(t, process.Wait())
	m.wantText(t, "persist/etc/shadow", "at the end")

	m.replaced(t, "after it")
	s.copyLast(t)
	m.wantText(t, "persist/etc/shadow", "after it")

	// Where nothing can be watched, as others have used up what there is for it, what changed is copied back all the same.
	m.replaced(t, "before it is unwatched")
	process = s.startCopyBack(t, "strace", "--daemonize", "--quiet=all", "--follow-forks", "--output=/dev/null", "--trace=inotify_init1", "--inject=inotify_init1:error=EMFILE")
	m.wantText(t, "persist/etc/shadow", "before it is unwatched")
	m.replaced(t, "unwatched")
	must(t, process.Process.Signal(syscall.SIGTERM))
	_ = process.Wait() // it says that it could not watch
	m.wantText(t, "persist/etc/shadow", "unwatched")

	m.configure(t, "[persistence.\"/persist\"]\nfiles = [\"/etc/hostname\"]\n")
	must(t, s.startCopyBack(t).Wait())
	s.copyLast(t)
}

// TestCopyBackKnowsFormerRoots: what could not be taken from the root that it was added in is not made of what this root has, which would be
// taken for it from then on. What was added in this root is copied.
func TestCopyBackKnowsFormerRoots(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\n")
	here, err := btrfsops.NameOf(m.sysroot)
	must(t, err)
	for id, want := range map[btrfsops.SubvolumeID]bool{here.ID + 1000: false, here.ID: true} {
		m.write(t, "etc/shadow", "as in the template")
		m.write(t, "persist/.impermanence/entries.toml",
			fmt.Sprintf("files = [ { file = \"/etc/shadow\", method = \"copy\", addedIn = { subvolume = %d, uuid = %q } } ]\n", id, here.UUID))
		must(t, daemon.CopyLast(t.Context(), daemon.Options{Config: config.LoadOptions{Path: m.config}, RunDir: m.runDir, Sysroot: m.sysroot, Log: m.log}))
		if _, err := os.Stat(filepath.Join(m.sysroot, "persist/etc/shadow")); (err == nil) != want {
			t.Errorf("added in %d of %d: copied %t", id, here.ID, err == nil)
		}
		must(t, os.RemoveAll(filepath.Join(m.sysroot, "persist/etc")))
	}
}

// watching is a placer that counts how often files are to be watched anew.
type watching struct {
	daemon.Placer
	options daemon.Options
	watched int
	err     error // of the last one's context
	told    chan struct{}
}

func (w *watching) Watch(ctx context.Context) error {
	w.watched++
	w.err = ctx.Err()
	defer func() { w.told <- struct{}{} }()
	return w.options.SayWatched()
}

// place has a daemon use it.
func (w *watching) place(o *daemon.Options) {
	w.Placer, w.options, w.told = daemon.NewDirectPlacer(*o), *o, make(chan struct{}, 10)
	o.Placer = w
}

// TestCopiesAreWatchedAnew: whenever others than before are copied back, and only then.
func TestCopiesAreWatchedAnew(t *testing.T) {
	m := newMachine(t)
	const configured = "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n"
	m.configure(t, configured)
	for _, path := range []string{"etc/shadow", "etc/gshadow", "srv/file"} {
		m.write(t, path, "text")
	}
	w := &watching{}
	d := m.start(t, w.place)
	must(t, w.options.SayWatched()) // as it was started at boot
	d.Manager()                     // the first look
	step := func(what string, want int, do func()) {
		t.Helper()
		if do(); w.watched != want {
			t.Errorf("%s: watched anew %d times, want %d", what, w.watched, want)
		}
	}
	step("a reload that changes nothing", 0, func() { must(t, d.Reload(t.Context())) })
	step("a bound file", 0, func() { changeEntry(t, d, dbus.EntryChange{Deed: dbus.AddEntry, Target: "/srv/file"}) })
	step("a copied file", 1, func() {
		changeEntry(t, d, dbus.EntryChange{Deed: dbus.AddEntry, Target: "/etc/gshadow", Method: "copy"})
	})
	step("it is forgotten", 2, func() { changeEntry(t, d, dbus.EntryChange{Deed: dbus.RemoveEntry, Target: "/etc/gshadow"}) })
	m.configure(t, "[persistence.\"/persist\"]\n")
	step("a reload without", 3, func() { must(t, d.Reload(t.Context())) })
}

// A reload is done wholly, also for somebody who has left before it is: what is in force is what was read, and nobody is kept from
// watching what is copied back.
func TestAReloadWhoseCallerLeaves(t *testing.T) {
	m := newMachine(t)
	w := &watching{}
	d := m.start(t, w.place)
	d.Manager() // the first look
	m.configure(t, "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n")
	ctx, leave := context.WithCancel(t.Context())
	leave()
	must(t, d.Reload(ctx))
	if entries := d.Entries(); len(entries) != 1 || w.watched != 1 || w.err != nil {
		t.Errorf("entries %v, watched anew %d times, canceled: %v", entries, w.watched, w.err)
	}
}

// What is to be copied back may be other than it was when the daemon was started last: it is watched all the same.
func TestCopiesAreWatchedAnewAfterARestart(t *testing.T) {
	m := newMachine(t)
	m.configure(t, "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n")
	w := &watching{}
	m.watch(t, w.place)
	<-w.told
	m.watch(t, w.place).Manager()
	m.configure(t, "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/gshadow\", method = \"copy\" }]\n")
	m.watch(t, w.place)
	<-w.told
	if w.watched != 2 {
		t.Errorf("watched anew %d times", w.watched)
	}
	m.configure(t, "nonsense = 1\n")
	wrong := m.watch(t, w.place)
	wantError(t, "reload", wrong.Reload(t.Context()), dbus.ErrInvalidConfiguration)
	if w.watched != 2 {
		t.Errorf("a wrong configuration is watched")
	}
}
