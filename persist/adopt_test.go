package persist

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestAdoptAndForget(t *testing.T) {
	for _, method := range []Method{Auto, Bind, Symlink} {
		for _, p := range []string{"/srv/app", "/etc/app.conf", "/etc/empty"} {
			t.Run(method.String()+p, func(t *testing.T) {
				m := newMachine(t)
				m.write("/srv/app/sub/file", "data")
				m.chown("/srv/app", 50, 51, 0o750)
				m.write("/etc/app.conf", "setting")
				m.write("/etc/empty", "")
				m.chown("/etc/empty", 50, 51, 0o600)
				btrfstest.Run(t, "setfacl", "-m", "u:1001:r", m.path("/etc/app.conf"))
				want := describe(t, m.path(p))
				e, err := EntryFor(m.options(), "/persist", p)
				if err != nil {
					t.Fatal(err)
				}
				e.Method, e.Adopt = method, true
				result, err := Adopt(context.Background(), m.options(), e)
				if err != nil || result.State != InPlace {
					t.Fatalf("got %+v, %v", result, err)
				}
				m.wantUnchanged(e)
				if got := describe(t, m.path("/persist"+p)); got != want {
					t.Errorf("adopted\n%s\nwant\n%s", got, want)
				}
				steps, err := PlanForget(t.Context(), m.options(), e)
				if want := "put a copy of " + e.Source + " back at " + p; err != nil || len(steps) != 1 || steps[0].String() != want {
					t.Errorf("got %v, %v", steps, err)
				}
				m.wantUnchanged(e)
				for range 2 { // twice is once
					if _, err := Forget(context.Background(), m.options(), e); err != nil {
						t.Fatal(err)
					}
					if got := describe(t, m.path(p)); got != want {
						t.Errorf("forgotten\n%s\nwant\n%s", got, want)
					}
					m.wantMounted(p, false)
					m.wantNothingAside(p)
				}
			})
		}
	}
}

// wantNothingAside fails when something stands beside a path that was not there before.
func (m *machine) wantNothingAside(p string) {
	m.t.Helper()
	if beside, err := filepath.Glob(m.path(filepath.Dir(p)) + "/*impermanence*"); err != nil || len(beside) > 0 {
		m.t.Errorf("left %v, %v", beside, err)
	}
	if left := m.staged(filepath.Dir(p)); left != "" {
		m.t.Errorf("left %s", left)
	}
}

// TestForgetKeepsWhatDiffers: what the mount hid is not what is put back. Both are there, and where is told.
func TestForgetKeepsWhatDiffers(t *testing.T) {
	for name, change := range map[string]func(m *machine, e Entry){
		"content": func(m *machine, e Entry) { m.write(e.Source+"/file", "new data") },
		"deleted": func(m *machine, e Entry) { btrfstest.Run(t, "rm", m.path(e.Source+"/file")) },
		"kind": func(m *machine, e Entry) {
			btrfstest.Run(t, "rm", m.path(e.Source+"/file"))
			m.mkdir(e.Source + "/file")
		},
		"owner": func(m *machine, e Entry) { m.chown(e.Source+"/file", 50, 51, 0o644) },
		"mode":  func(m *machine, e Entry) { m.chown(e.Source+"/file", 0, 0, 0o600) },
		"attribute": func(m *machine, e Entry) {
			btrfstest.Run(t, "setfattr", "-n", "user.note", "-v", "1", m.path(e.Source+"/sub"))
		},
		"symlink": func(m *machine, e Entry) { btrfstest.Run(t, "ln", "-sfn", "elsewhere", m.path(e.Source+"/link")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			e := dirEntry("/srv/app")
			m.write("/srv/app/file", "old data")
			m.mkdir("/srv/app/sub")
			m.symlink("nowhere", "/srv/app/link")
			was := describe(t, m.path(e.Target))
			m.apply(e)
			change(m, e)
			want := describe(t, m.path(e.Source))
			result, err := Forget(context.Background(), m.options(), e)
			if err != nil || result.Actions != "put back, what differed kept as /srv/app.impermanence-conflict" {
				t.Errorf("got %+v, %v", result, err)
			}
			if got := describe(t, m.path(e.Target)); got != want {
				t.Errorf("put back\n%s\nwant\n%s", got, want)
			}
			if got := describe(t, m.path("/srv/app.impermanence-conflict")); got != was {
				t.Errorf("kept\n%s\nwant\n%s", got, was)
			}
		})
	}
}

// TestForgetKeepsAFileThatDiffers: what a file hid is kept, unless it is empty or the same.
func TestForgetKeepsAFileThatDiffers(t *testing.T) {
	for was, kept := range map[string]bool{"old data": true, "new data": false, "": false} {
		m := newMachine(t)
		e := fileEntry("/etc/app.conf")
		m.write(e.Target, was)
		m.apply(e)
		m.write(e.Source, "new data")
		if _, err := Forget(context.Background(), m.options(), e); err != nil {
			t.Fatalf("%q: %v", was, err)
		}
		m.wantText(e.Target, "new data")
		if kept {
			m.wantText(e.Target+asideSuffix, was)
		} else {
			m.wantNothingAside(e.Target)
		}
	}
}

// TestForgetWhatIsGone: a place that somebody has emptied gets what is kept.
func TestForgetWhatIsGone(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	e.Method = Symlink
	m.write("/srv/app/file", "data")
	m.apply(e)
	btrfstest.Run(t, "rm", m.path(e.Target))
	if result, err := Forget(context.Background(), m.options(), e); err != nil || result.Actions != "put back" {
		t.Errorf("%+v, %v", result, err)
	}
	m.wantText("/srv/app/file", "data")
}

// TestForgetWithoutASource: there is nothing to put back, and what stands in the place stays.
func TestForgetWithoutASource(t *testing.T) {
	for _, e := range []Entry{fileEntry("/etc/app.conf"), dirEntry("/srv/app")} {
		m := newMachine(t)
		data := e.Target
		if e.Kind == Directory {
			data += "/file"
		}
		m.write(data, "data")
		if result, err := Forget(context.Background(), m.options(), e); err != nil || result.Actions != "" {
			t.Errorf("%s: %+v, %v", e.Target, result, err)
		}
		m.wantText(data, "data")
		m.wantNothingAside(e.Target)
	}
}

// TestForgetKeepsNothingTwice: what was added since is no difference, for all that was there is in what is put back.
func TestForgetKeepsNothingTwice(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	m.write("/srv/app/file", "data")
	m.apply(e)
	m.write("/srv/app/more", "data")
	if result, err := Forget(context.Background(), m.options(), e); err != nil || result.Actions != "put back" {
		t.Fatalf("%+v, %v", result, err)
	}
	m.wantText("/srv/app/more", "data")
	m.wantNothingAside("/srv/app")
}

// TestAdoptRefusesWhatIsUsed: whoever has it open for writing, mapped it so and closed it, or works in a directory there goes on with
// what is hidden then. A reader, and who works elsewhere, is no reason.
func TestAdoptRefusesWhatIsUsed(t *testing.T) {
	const script = `import mmap, os, sys, time
os.chdir("/")
how, at = sys.argv[1:]
if how == "write": f = open(at + "/log", "a")
if how == "read": f = open(at + "/log")
if how == "map":
    f = open(at + "/log", "r+"); m = mmap.mmap(f.fileno(), 1); os.closerange(3, 100)
if how == "map to read":
    f = open(at + "/log"); m = mmap.mmap(f.fileno(), 1, prot=mmap.PROT_READ)
if how == "map private":
    f = open(at + "/log"); m = mmap.mmap(f.fileno(), 1, flags=mmap.MAP_PRIVATE)
if how == "work": os.chdir(at + "/sub")
if how == "work at": os.chdir(at)
if how == "work beside": os.chdir(at + "2")
if how == "root": os.chroot(at)
if how == "open": fd = os.open(at + "/sub", os.O_RDONLY)
print("ready", flush=True)
sys.stdin.read()`
	m := newMachine(t)
	m.mkdir("/srv")
	m.symlink("srv", "/link")
	for how, want := range map[string]string{
		"write": "open for writing: AT/log (python3[PID])", "map": "open for writing: AT/log (mapped by python3[PID])",
		"work":    "would go on in the old directory, which nobody else sees then: AT/sub (working directory of python3[PID])",
		"work at": "would go on in the old directory, which nobody else sees then: AT (working directory of python3[PID])",
		"root":    "would go on in the old directory, which nobody else sees then: AT (root directory of python3[PID])",
		"open":    "would go on in the old directory, which nobody else sees then: AT/sub (opened by python3[PID])",
		"read":    "", "map to read": "", "map private": "", "work beside": "",
	} {
		t.Run(how, func(t *testing.T) {
			dir := "/srv/" + how
			m.write(dir+"/app/log", "x")
			m.mkdir(dir + "/app/sub")
			m.mkdir(dir + "/app2")
			e := dirEntry("/link/" + how + "/app") // a symlink of root's leads there
			pid := hold(t, script, how, m.path(dir+"/app"))
			_, err := Adopt(context.Background(), m.options(), e)
			if want == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			want := strings.NewReplacer("AT", m.path(dir+"/app"), "PID", fmt.Sprint(pid)).Replace("adopt " + e.Target + ": " + want)
			if !errors.Is(err, ErrBusy) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			m.wantOwner(e.Source, "absent")
			m.wantMounted(dir+"/app", false)
		})
	}
}

// TestPlacesThatAreUsed: what is configured is not put over what a program uses either, while the system runs. Once the program has ended it is.
func TestPlacesThatAreUsed(t *testing.T) {
	m := newMachine(t)
	entries := []Entry{dirEntry("/srv/app"), fileEntry("/etc/app.conf"), dirEntry("/srv/other")}
	m.write("/srv/app/log", "x")
	m.write("/etc/app.conf", "x")
	opts := m.options()
	opts.Running = true
	t.Run("used", func(t *testing.T) {
		hold(t, `import sys
files = [open(at, "a") for at in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()`, m.path("/srv/app/log"), m.path("/etc/app.conf"))
		report, err := Apply(t.Context(), opts, entries)
		if !errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
		for i, want := range []State{Failed, Failed, InPlace} {
			if got := report.Results[i]; got.State != want || want == Failed && !errors.Is(got.Err, ErrBusy) {
				t.Errorf("got %+v", got)
			}
		}
		for _, e := range entries[:2] {
			m.wantMounted(e.Target, false)
			m.wantOwner(e.Source, "absent")
		}
	})
	if _, err := Apply(t.Context(), opts, entries); err != nil {
		t.Error(err)
	}
	m.wantText("/persist/srv/app/log", "x")
	m.wantUnchanged(entries...)
}

// TestPlaceWithTheUsers: what this process itself reads in a place, as the passwd file, keeps nothing from it.
func TestPlaceWithTheUsers(t *testing.T) {
	m := newMachine(t)
	opts := m.options()
	opts.Running = true
	if report, err := Apply(t.Context(), opts, []Entry{dirEntry("/etc")}); err != nil {
		t.Errorf("%+v, %v", report.Results, err)
	}
	m.wantUnchanged(dirEntry("/etc"))
}

// TestBegunToBeUsedWhileItIsCopied: to copy much takes long. What a program opens for writing meanwhile is not hidden, nor is anything left on
// the volume that would differ from it the next time.
func TestBegunToBeUsedWhileItIsCopied(t *testing.T) {
	for _, method := range []Method{Bind, Symlink} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			m.write("/srv/app/log", "x")
			e := dirEntry("/srv/app")
			e.Method = method
			var log *os.File
			k := &kernel{}
			k.hook = func(call, _ string) (err error) {
				if call == "sync file system of" {
					log, err = os.OpenFile(m.path("/srv/app/log"), os.O_WRONLY|os.O_APPEND, 0)
				}
				return err
			}
			var busy *WritersError
			if result, err := adopt(t.Context(), k, m.options(), e); !errors.As(err, &busy) || result.State != Failed {
				t.Errorf("got %+v, %v", result, err)
			}
			m.wantMounted(e.Target, false)
			m.wantOwner(e.Source, "absent")
			if left := m.staged("/persist/srv"); left != "" {
				t.Errorf("left %s", left)
			}
			if _, err := log.WriteString("y"); err != nil || log.Close() != nil {
				t.Fatal(err)
			}
			if _, err := Adopt(t.Context(), m.options(), e); err != nil {
				t.Error(err)
			}
			m.wantText("/persist/srv/app/log", "xy")
		})
	}
}

// TestChangedAfterItWasCopied: so it is with what a program changes and closes again, also with its former time, when all was copied.
func TestChangedAfterItWasCopied(t *testing.T) {
	m := newMachine(t)
	m.write("/srv/app/log", "x")
	k := &kernel{hook: func(call, _ string) error {
		if call == "sync file system of" {
			btrfstest.Run(t, "sh", "-ec", "cd \"$1\"; touch -r log time; printf y >log; touch -r time log; rm time", "sh", m.path("/srv/app"))
		}
		return nil
	}}
	if _, err := adopt(t.Context(), k, m.options(), dirEntry("/srv/app")); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	m.wantOwner("/persist/srv/app", "absent")
	if left := m.staged("/persist/srv"); left != "" {
		t.Errorf("left %s", left)
	}
	m.wantText("/srv/app/log", "y")
}

// hold runs a Python script until the test ends, once it is ready.
func hold(t *testing.T, script string, args ...string) (pid int) {
	t.Helper()
	cmd := exec.Command("python3", append([]string{"-c", script}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// TestAdoptAgainRefusesWhatIsUsed: what was kept once is on the volume still, so nothing is copied. What a program writes from
// then on would be hidden all the same.
func TestAdoptAgainRefusesWhatIsUsed(t *testing.T) {
	const script = `import sys
f = open(sys.argv[1], "a"); print("ready", flush=True); sys.stdin.read()`
	for _, method := range []Method{Bind, Symlink, Copy} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			m.write("/persist/srv/app/log", "x")
			m.write("/srv/app/log", "x")
			e := dirEntry("/srv/app")
			if method == Copy { // an empty file is replaced
				m.write("/srv/app/log", "")
				e = fileEntry("/srv/app/log")
			}
			e.Method = method
			hold(t, script, m.path("/srv/app/log"))
			var busy *WritersError
			if _, err := Adopt(t.Context(), m.options(), e); !errors.As(err, &busy) || len(busy.Writers) != 1 {
				t.Errorf("got %v", err)
			}
			m.wantMounted(e.Target, false)
		})
	}
}

func TestForgetRefusesWhatIsInUse(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	m.write("/persist/srv/app/file", "x")
	m.apply(e)
	f, err := os.Open(m.path("/srv/app/file"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Forget(context.Background(), m.options(), e); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	m.wantUnchanged(e)
	if left := m.staged("/srv"); left != "" {
		t.Errorf("left %s", left)
	}
	f.Close()
	if _, err := Forget(context.Background(), m.options(), e); err != nil {
		t.Error(err)
	}
	m.wantText("/srv/app/file", "x")
}

// TestForgetMayCrash stops Forget after every call that changes something: nothing is lost, and Forget again completes.
func TestForgetMayCrash(t *testing.T) {
	m := newMachine(t)
	for _, method := range []Method{Bind, Symlink} {
		for n := 1; ; n++ {
			e := dirEntry(fmt.Sprintf("/%s%03d/app", method, n))
			e.Method = method
			m.write(e.Target+"/sub/file", "seeded")
			m.apply(e)
			m.write(e.Source+"/sub/file", "changed since")
			calls := 0
			k := &kernel{hook: func(string, string) error {
				if calls++; calls >= n {
					return errCrash
				}
				return nil
			}}
			_, err := forget(context.Background(), k, m.options(), e)
			if calls < n {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Errorf("call %d failed and that was not reported: %v", n, err)
			}
			m.wantText(e.Source+"/sub/file", "changed since")
			if _, err := Forget(context.Background(), m.options(), e); err != nil {
				t.Errorf("%s: after a crash at call %d: %v", method, n, err)
			}
			m.wantText(e.Target+"/sub/file", "changed since")
			m.wantText(e.Source+"/sub/file", "changed since")
			m.wantMounted(e.Target, false)
			if found := m.tokensBelow(filepath.Dir(e.Target)); method == Bind && !strings.Contains(found, "seeded") {
				t.Errorf("%s: after a crash at call %d what was hidden is lost, found %q", method, n, found)
			}
		}
	}
}

func TestForgetWhatIsCopied(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/state")
	m.write("/persist/etc/state", "kept")
	m.apply(e)
	m.write("/etc/state", "changed by its program")
	if _, err := Forget(context.Background(), m.options(), e); err != nil {
		t.Error(err)
	}
	m.wantText("/etc/state", "changed by its program")
	m.wantText("/persist/etc/state", "kept")
}

func TestEntryFor(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv/app")
	m.symlink("x", "/srv/link")
	for p, want := range map[string]error{
		"/srv/app": nil, "/srv/app/": nil, "/etc/passwd": nil, "/srv/none": ErrSourceMissing, "/srv/link": ErrWrongKind,
		"/": ErrInvalidEntry, "srv": ErrInvalidEntry, "/persist": ErrInvalidEntry, "/persist/x": ErrInvalidEntry, "/etc/passwd/x": os.ErrInvalid,
	} {
		e, err := EntryFor(m.options(), "/persist", p)
		if (err == nil) != (want == nil) || want != nil && !errors.Is(want, os.ErrInvalid) && !errors.Is(err, want) {
			t.Errorf("%s: got %+v, %v", p, e, err)
		}
	}
}

func TestOrphans(t *testing.T) {
	m := newMachine(t)
	for _, p := range []string{"/var/log/x", "/var/lib/app/data", "/var/lib/gone/data", "/etc/machine-id", "/etc/gone", "/old/deep/file", "/.impermanence/entries.toml", "/home/demo/x/y", "/home/demo/z"} {
		m.write("/persist"+p, "x")
	}
	m.symlink("log", "/persist/var/link")
	for _, p := range []string{"/persist/mounted", "/persist/deep/mounted", "/persist/deep/gone"} { // of another volume, and of nobody
		m.mkdir(p)
	}
	for _, p := range []string{"/persist/mounted", "/persist/deep/mounted"} {
		btrfstest.Run(t, "mount", "-t", "tmpfs", "tmpfs", m.path(p))
		m.write(p+"/precious", "")
	}
	got, err := Orphans(m.options(), "/persist", []Entry{dirEntry("/var/log"), dirEntry("/var/lib/app"), fileEntry("/etc/machine-id"), homeEntry(Directory, "x")})
	if err != nil {
		t.Fatal(err)
	}
	want := []Orphan{{"/persist/deep/gone", IsDirectory}, {"/persist/etc/gone", IsFile}, {"/persist/home/demo/z", IsFile}, {"/persist/old", IsDirectory}, {"/persist/var/lib/gone", IsDirectory}, {"/persist/var/link", IsSymlink}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := Orphans(m.options(), "/nowhere", nil); !errors.Is(err, ErrNoVolume) {
		t.Errorf("got %v", err)
	}
}

// TestForgetWithoutAWayThere: the directories that lead to the place, in the home that the passwd file says, are made again.
func TestForgetWithoutAWayThere(t *testing.T) {
	m := newMachine(t)
	e := Entry{Target: "/home/other/deep/app", Source: "/persist/home/other/deep/app", Volume: "/persist", Home: "other", BelowHome: "deep/app"}
	m.write("/persist/srv/other/deep/app/file", "data")
	m.chown("/persist/srv/other/deep/app", 1001, 1001, 0o750)
	m.mkdir("/srv/other")
	m.chown("/srv/other", 1001, 1001, 0o755)
	steps, err := PlanForget(t.Context(), m.options(), e)
	want := "make parent /srv/other/deep 1001:1001 0755\nput a copy of /persist/srv/other/deep/app back at /srv/other/deep/app\n"
	var got strings.Builder
	for _, s := range steps {
		got.WriteString(s.String() + "\n")
	}
	if diff := cmp.Diff(want, got.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := Forget(context.Background(), m.options(), e); err != nil {
		t.Fatal(err)
	}
	m.wantText("/srv/other/deep/app/file", "data")
	m.wantOwner("/srv/other/deep", "1001:1001 0755")
	m.wantOwner("/srv/other/deep/app", "1001:1001 0750")
}

// TestForgetKeepsASymlinkOfSomebody: what led elsewhere is kept aside, also where an earlier run seems to have been interrupted.
func TestForgetKeepsASymlinkOfSomebody(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	m.write("/persist/srv/app/file", "data")
	m.write("/srv/app.impermanence-conflict/file", "data")
	m.write("/srv/mine/file", "mine")
	m.symlink("mine", "/srv/app")
	result, err := Forget(context.Background(), m.options(), e)
	if err != nil || result.Actions != "put back, what differed kept as /srv/app.impermanence-conflict-2" {
		t.Errorf("got %+v, %v", result, err)
	}
	m.wantText("/srv/app/file", "data")
	if link, err := os.Readlink(m.path("/srv/app.impermanence-conflict-2")); link != "mine" {
		t.Errorf("the symlink is %q, %v", link, err)
	}
}

// TestLeftBehind finds what entries have left that nobody declares any more, and nothing that was never one.
func TestLeftBehind(t *testing.T) {
	m := newMachine(t)
	linked := fileEntry("/etc/linked")
	linked.Method = Symlink
	entries := []Entry{dirEntry("/srv/app"), fileEntry("/etc/bound"), linked}
	for _, e := range entries[1:] {
		m.write(e.Source, "data")
	}
	m.apply(entries...)
	m.write("/srv/mine/file", "")
	m.write("/persist/srv/mine/file", "")
	m.mkdir("/srv/elsewhere")
	m.mkdir("/persist/srv/elsewhere")
	btrfstest.Run(t, "mount", "--bind", m.path("/srv/mine"), m.path("/srv/elsewhere"))
	for target, kind := range map[string]Kind{"/srv/app": Directory, "/etc/bound": File, "/etc/linked": File} {
		if e, is := LeftBehind(m.options(), "/persist", target); !is || e.Kind != kind || e.Source != "/persist"+target || e.Volume != "/persist" {
			t.Errorf("%s: %t, %+v", target, is, e)
		}
	}
	for _, target := range []string{"/srv/mine", "/srv/elsewhere", "/srv/none", "/etc/passwd"} {
		if e, is := LeftBehind(m.options(), "/persist", target); is {
			t.Errorf("%s: %+v", target, e)
		}
	}
	if e, is := LeftBehind(m.options(), "/none", "/srv/app"); is {
		t.Errorf("on no volume: %+v", e)
	}
}
