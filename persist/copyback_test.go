package persist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// copied runs CopyBack while a test changes files, and gives results as they come.
type copied struct {
	results chan Result
	stop    func()
}

func (m *machine) copyBack(window time.Duration, entries ...Entry) copied {
	m.t.Helper()
	c := copied{results: make(chan Result, 100)}
	opts := m.options()
	opts.Done = func(r Result) { c.results <- r }
	task := NewCopyBack(opts, entries, window)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- task.Run(ctx) }()
	select {
	case <-task.Ready():
	case err := <-ended:
		m.t.Fatal(err)
	}
	c.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			m.t.Error(err)
		}
	}
	return c
}

// next waits for the next copy.
func (c copied) next(t *testing.T) Result {
	t.Helper()
	select {
	case r := <-c.results:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was copied back")
		return Result{}
	}
}

func copyEntry(target string) Entry {
	e := fileEntry(target)
	e.Method = Copy
	return e
}

// TestCopyBack changes a copied file in every way that programs do (impermanence#120, #147, #175; fish#10730).
func TestCopyBack(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/app/state")
	m.write("/persist/etc/app/state", "first")
	m.chown("/persist/etc/app/state", 50, 51, 0o640)
	m.apply(e)
	m.wantOwner("/etc/app/state", "50:51 0640")
	c := m.copyBack(time.Millisecond, e)
	for _, step := range []struct{ name, script, want string }{
		{"written", `printf second > state`, "second"},
		{"replaced by rename", `printf third > state.tmp && mv state.tmp state`, "third"},
		{"removed and made again", `rm state && printf fourth > state`, "fourth"},
		{"appended", `printf ' and more' >> state`, "fourth and more"},
		{"directory replaced", `cd .. && mv app old && mkdir app && printf fifth > app/state`, "fifth"},
	} {
		btrfstest.Run(t, "sh", "-ec", "cd \"$1\"\n"+step.script, "sh", m.path("/etc/app"))
		for r := c.next(t); m.read("/persist/etc/app/state") != step.want; r = c.next(t) {
			t.Logf("%s: on the way: %+v", step.name, r)
		}
	}
	m.chown("/etc/app/state", 1000, 100, 0o600)
	for m.owner("/persist/etc/app/state") != "1000:100 0600" {
		c.next(t)
	}
	c.stop()
	if left := m.staged("/persist/etc"); left != "" {
		t.Errorf("left %s", left)
	}
	m.wantUnchanged(e)
	m.boot()
	m.apply(e)
	m.wantText("/etc/app/state", "fifth")
}

// TestTwoCopyOneFile: an entry is added while those before it begin to be watched, and both copy what has no source yet.
func TestTwoCopyOneFile(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	opts := m.options()
	opts.Lock = filepath.Join(t.TempDir(), "lock")
	for n := range 100 {
		text := strings.Repeat(strconv.Itoa(n), 1000)
		m.write("/etc/state", text)
		if err := os.RemoveAll(m.path("/persist/etc/state")); err != nil {
			t.Fatal(err)
		}
		back := make(chan error, 1)
		go func() { back <- NewCopyBack(opts, []Entry{e}, 0).Once(context.Background()) }()
		_, err := Apply(t.Context(), opts, []Entry{e})
		if err := errors.Join(err, <-back); err != nil {
			t.Fatalf("round %d: %v", n, err)
		}
		m.wantText("/persist/etc/state", text)
	}
	if left := m.staged("/persist/etc"); left != "" {
		t.Errorf("left %s", left)
	}
}

// TestWatchedWhileItIsMade: a directory that comes to stand on the way to a place just before the one that was found is watched, is seen: nothing
// would tell of what is in it.
func TestWatchedWhileItIsMade(t *testing.T) {
	for name, meanwhile := range map[string]string{"made": "mkdir -p lib/app", "replaced": "mv lib old && mkdir -p lib/app"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mkdir("/var/lib")
			w, err := newWatcher()
			if err != nil {
				t.Fatal(err)
			}
			defer w.close()
			add, once := w.call, sync.OnceFunc(func() { btrfstest.Run(t, "sh", "-ec", "cd \"$1\"; "+meanwhile, "sh", m.path("/var")) })
			w.call = func(fd int, path string, mask uint32) (int, error) {
				once()
				return add(fd, path, mask)
			}
			watched, err := NewCopyBack(m.options(), []Entry{copyEntry("/var/lib/app/state")}, 0).watch(w)
			if err != nil {
				t.Fatal(err)
			}
			dir, err := os.Open(m.path("/var/lib/app"))
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			if number, err := w.add(int(dir.Fd()), "app"); err != nil || !watched.names[number]["state"] {
				t.Errorf("it is not watched: %v, %v", watched.names, err)
			}
		})
	}
}

// TestWhatConcernsCopies: also events that were lost, which the kernel tells as one of no directory, and what becomes of a watched directory itself.
func TestWhatConcernsCopies(t *testing.T) {
	w := watches{names: map[int]map[string]bool{1: {"state": true}}}
	for _, row := range []struct {
		event watchEvent
		want  bool
	}{
		{watchEvent{1, "state"}, true},
		{watchEvent{1, "other"}, false},
		{watchEvent{2, "state"}, false},
		{watchEvent{1, ""}, true},
		{watchEvent{2, ""}, false},
		{parseEvents(append([]byte{255, 255, 255, 255}, make([]byte, inotifyHeader-4)...))[0], true}, // IN_Q_OVERFLOW
	} {
		if got := w.concerns([]watchEvent{row.event}); got != row.want {
			t.Errorf("%+v: %t", row.event, got)
		}
	}
}

// TestWatchThatFails: what changes in a directory that is watched already does not hold up who is told that another can't be.
func TestWatchThatFails(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/etc")
	m.mkdir("/srv")
	m.write("/opt/state", "x") // moved, it is one event, which is read as a whole
	w, err := newWatcher()
	if err != nil {
		t.Fatal(err)
	}
	add := w.call
	w.call = func(fd int, path string, mask uint32) (int, error) {
		if number, err := add(fd, path, mask); err != nil || m.owner("/etc/state") == "absent" {
			return number, errors.Join(err, os.Rename(m.path("/opt/state"), m.path("/etc/state")))
		}
		for unread := 1; unread > 0; runtime.Gosched() { // until it is about to be told
			connection, err := w.file.SyscallConn()
			if err != nil {
				return -1, err
			}
			control := connection.Control(func(fd uintptr) { unread, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
			if err := errors.Join(control, err); err != nil {
				return -1, err
			}
		}
		return -1, unix.ENOSPC
	}
	ended := make(chan error, 1)
	go func() {
		ended <- NewCopyBack(m.options(), []Entry{copyEntry("/etc/state"), copyEntry("/srv/state")}, 0).run(t.Context(), w)
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not end")
	}
}

func TestCopyBackAtTheEnd(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write("/persist/etc/state", "first")
	m.apply(e)
	c := m.copyBack(time.Hour, e)
	m.write("/etc/state", "second")
	c.stop()
	m.wantText("/persist/etc/state", "second")
}

// TestCopyBackThatIsStopped: what is copied back all the same when the watch is stopped is not told as a failure.
func TestCopyBackThatIsStopped(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write("/persist/etc/state", "first")
	m.apply(e)
	m.write("/etc/state", "second")
	opts := m.options()
	opts.Done = func(r Result) {
		if r.Err != nil {
			t.Errorf("told: %v", r.Err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := NewCopyBack(opts, []Entry{e}, 0).Run(ctx); err != nil {
		t.Error(err)
	}
	m.wantText("/persist/etc/state", "second")
}

func TestCopyBackOfAFileThatIsNotThereYet(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/var/lib/app/deep/state")
	m.apply(e)
	c := m.copyBack(time.Millisecond, e)
	m.write("/var/lib/app/deep/state", "made later")
	for m.owner("/persist/var/lib/app/deep/state") == "absent" || m.read("/persist/var/lib/app/deep/state") != "made later" {
		c.next(t)
	}
	c.stop()
}

func TestCopyBackKeepsWhatIsRemoved(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write("/persist/etc/state", "kept")
	m.apply(e)
	c := m.copyBack(time.Hour, e)
	if err := os.Remove(m.path("/etc/state")); err != nil {
		t.Fatal(err)
	}
	c.stop()
	m.wantText("/persist/etc/state", "kept")
	m.wantOwner("/etc/state", "absent") // it is for its program to make it again
}

// TestCopyBackLeavesWhatAFormerRootHas: what early boot could not take from a former root is not taken from one that never had it.
func TestCopyBackLeavesWhatAFormerRootHas(t *testing.T) {
	m := newMachine(t)
	e := adopted(copyEntry("/etc/state"), Copy)
	m.write(e.Target, "as added")
	opts := m.nextBoot()
	m.write(e.Target, "as in the template")
	if err := NewCopyBack(opts, []Entry{e}, 0).Once(t.Context()); err != nil {
		t.Error(err)
	}
	m.wantOwner(e.Source, "absent")
	if report, err := Apply(t.Context(), opts, []Entry{e}); err != nil {
		t.Errorf("%+v, %v", report.Results, err)
	}
	m.wantText(e.Target, "as added")
	m.write(e.Target, "changed")
	if err := NewCopyBack(opts, []Entry{e}, 0).Once(t.Context()); err != nil {
		t.Error(err)
	}
	m.wantText(e.Source, "changed")
}

func TestCopyBackKeepsBoth(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write("/persist/etc/state", "first")
	m.apply(e)
	c := m.copyBack(time.Hour, e)
	m.write("/etc/state", "by the program")
	m.write("/persist/etc/state", "by hand")
	c.stop()
	if r := c.next(t); r.State != Conflict || !errors.Is(r.Err, ErrConflict) {
		t.Errorf("got %+v", r)
	}
	m.wantText("/persist/etc/state", "by the program")
	m.wantText("/persist/etc/state.impermanence-conflict", "by hand")
}

// TestCopyIsGivenItsOwner: what is configured of a file's owner and mode holds from the first time on that it is kept.
func TestCopyIsGivenItsOwner(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/secret")
	e.User, e.Mode = "demo", bits(0o600)
	m.write(e.Target, "x")
	m.apply(e)
	m.wantOwner(e.Source, "1000:0 0600")
	m.wantOwner(e.Target, "1000:0 0600")
	m.wantUnchanged(e)
}

// TestWhatACopyWasMadeFrom: what fresh roots begin with is what the source was made from, before it was changed and copied back.
func TestWhatACopyWasMadeFrom(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	for _, text := range []string{"as in the template", "changed", "changed again"} {
		m.write(e.Target, text)
		m.apply(e)
	}
	m.boot()
	m.write(e.Target, "as in the template")
	m.apply(e) // no conflict
	m.wantText(e.Target, "changed again")
	m.wantNothingAside(e.Target)
}

// TestBothChangedAndThePowerFails: a cut before any change on the volume leaves a file at the source, for the next root. So
// it is when a volume is prepared for another installation.
func TestBothChangedAndThePowerFails(t *testing.T) {
	for name, run := range map[string]func(context.Context, *kernel, Options, []Entry) (Report, error){"apply": apply, "seed volume": seedVolume} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			e := copyEntry("/etc/state")
			m.write(e.Source, "first")
			m.apply(e)
			m.write(e.Target, "by the program")
			m.write(e.Source, "by hand")
			k := &kernel{hook: func(call, object string) error {
				if m.owner(e.Source) == "absent" {
					t.Errorf("nothing is at the source before: %s %s", call, object)
				}
				return nil
			}}
			if _, err := run(t.Context(), k, m.options(), []Entry{e}); !errors.Is(err, ErrConflict) {
				t.Errorf("got %v", err)
			}
			m.wantText(e.Source, "by the program")
			m.wantText(e.Source+".impermanence-conflict", "by hand")
		})
	}
}

// TestCopyThatCouldNotBeNoted: what was put in place on a volume that was full for a moment is copied back when it changes.
func TestCopyThatCouldNotBeNoted(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write(e.Source, "first")
	k := &kernel{hook: func(call, _ string) error {
		if call == "set attribute "+attrCopy+" of" {
			return unix.ENOSPC
		}
		return nil
	}}
	report, err := apply(t.Context(), k, m.options(), []Entry{e})
	if got := report.Results[0]; got.State != Drifted || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %+v, %v", got, err)
	}
	c := m.copyBack(time.Millisecond, e)
	m.write(e.Target, "second")
	c.next(t)
	c.stop()
	m.wantText(e.Source, "second")
}

// TestCopyWithoutAttributes: where nothing can be noted, a file is put in place and kept, and that it is not copied back is told each time.
func TestCopyWithoutAttributes(t *testing.T) {
	m := newMachine(t)
	if err := unix.Mount("ramfs", m.path("/persist"), "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	kept, made := copyEntry("/etc/kept"), copyEntry("/etc/made")
	m.write(kept.Source, "x")
	m.write(made.Target, "x")
	for range 2 {
		report, err := Apply(t.Context(), m.options(), []Entry{kept, made})
		for _, r := range report.Results {
			if r.State != Drifted || !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(r.Error, "what changes in "+r.Target+" is not copied back") {
				t.Errorf("got %+v, %v", r, err)
			}
		}
		m.wantText(kept.Target, "x")
		m.wantText(made.Source, "x")
	}
}

// TestFreshHomeInARootThatStays: what a home begins with, which is made anew while the root is not, is no change of what was there before.
func TestFreshHomeInARootThatStays(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/home/demo/.state")
	top := t.TempDir()
	btrfstest.Mount(t, m.device, top, "subvolid=5")
	for i, want := range []string{"as in the template", "changed"} {
		home := fmt.Sprintf("home%d", i)
		btrfstest.Subvolume(t, filepath.Join(top, home))
		m.mkdir("/home")
		btrfstest.Mount(t, m.device, m.path("/home"), "subvol="+home)
		m.write(e.Target, "as in the template")
		m.apply(e)
		m.wantText(e.Target, want)
		m.write(e.Target, "changed")
		if err := NewCopyBack(m.options(), []Entry{e}, 0).Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.wantText(e.Source, "changed")
		btrfstest.Unmount(t, m.path("/home"))
	}
}

// TestPasswd runs the programs that replace passwd and shadow by rename (impermanence#120).
func TestPasswd(t *testing.T) {
	m := newMachine(t)
	var entries []Entry
	for _, file := range []string{"passwd", "group", "shadow", "gshadow"} {
		data, err := os.ReadFile("/etc/" + file)
		if err != nil {
			t.Fatal(err)
		}
		m.write("/etc/"+file, string(data))
		entries = append(entries, copyEntry("/etc/"+file))
	}
	m.apply(entries...)
	c := m.copyBack(time.Millisecond, entries...)
	btrfstest.Run(t, "useradd", "--prefix", m.root, "--uid", "4321", "newcomer")
	for !strings.Contains(m.read("/persist/etc/passwd"), "newcomer:x:4321") || !strings.Contains(m.read("/persist/etc/shadow"), "newcomer:") {
		c.next(t)
	}
	c.stop()
	m.boot()
	for _, e := range entries[2:] {
		m.wantOwner(e.Target, "absent")
	}
	if _, err := Apply(context.Background(), m.options(), entries); err != nil && !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	if got := m.read("/etc/passwd"); !strings.Contains(got, "newcomer:x:4321") {
		t.Errorf("got %s", got)
	}
	m.wantUnchanged(entries...)
	if _, err := os.Stat(filepath.Join(m.root, "etc/passwd.impermanence-conflict")); err != nil {
		t.Error("what the fresh root had is not kept:", err)
	}
}

// TestCrashBeforeCopyBackInAKeptRoot: the change is still there at the next boot of the same root, wins over what it was
// copied from, and is copied back.
func TestCrashBeforeCopyBackInAKeptRoot(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/shadow")
	m.write("/persist/etc/shadow", "before")
	m.apply(e)
	m.write("/etc/shadow", "changed, and then the power failed")
	root := fmt.Sprintf("root%d", m.boots)
	m.powerOff()
	btrfstest.Mount(t, m.device, m.root, "subvol="+root)
	btrfstest.Mount(t, m.device, m.path("/persist"), "subvol=persist")
	m.apply(e)
	m.wantText("/etc/shadow", "changed, and then the power failed")
	m.wantText("/persist/etc/shadow", "changed, and then the power failed")
}
