package change_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/impermanence/impermanence/daemon/change"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/former"
	"github.com/impermanence/impermanence/persist"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// changing is every system call that a change is made of.
var changing = []string{
	"mkdirat", "unlinkat", "renameat", "renameat2", "fchown", "fchownat", "fchmod", "fchmodat", "write", "pwrite64", "copy_file_range", "ioctl",
	"setxattr", "fsetxattr", "utimensat", "fsync", "syncfs", "open_tree", "move_mount", "umount2",
}

// kill is where a process is killed: at one of its calls, which strace counts for each thread by itself.
type kill struct {
	call   string
	number int
}

// world is a machine whose changes are killed.
type world struct {
	t                      *testing.T
	program, root, run, at string // at: the configuration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t, filepath.Join(dir, "impermanenced"), filepath.Join(dir, "root"), filepath.Join(dir, "run"), filepath.Join(dir, "impermanence.toml")}
	btrfstest.Run(t, "go", "build", "-o", w.program, "github.com/impermanence/impermanence/cmd/impermanenced")
	device, top := btrfstest.NewDevice(t, 0), filepath.Join(dir, "top")
	btrfstest.Mount(t, device, top, "subvolid=5")
	for _, name := range []string{"root", "persist"} {
		btrfstest.Subvolume(t, filepath.Join(top, name))
	}
	btrfstest.Mount(t, device, w.root, "subvol=root")
	btrfstest.Mount(t, device, w.root+"/persist", "subvol=persist")

	w.must(os.Mkdir(w.run, 0o700))
	w.must(os.WriteFile(w.at, fmt.Appendf(nil, "[ephemeral.\"/\"]\ndevice = %q\n[persistence.\"/persist\"]\n", device), 0o644))
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.root, path)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(text), 0o644))
}

// options and settle are a run in this process: what a next run does.
func (w *world) options() change.Options {
	return change.Options{Config: config.LoadOptions{Path: w.at}, Sysroot: w.root}
}

func (w *world) carry(r change.Request) error {
	reply := change.Carry(w.t.Context(), w.options(), r)
	return reply.Err()
}

// apply puts what is recorded in place, as the next boot or `impermanence persist` does.
func (w *world) apply() {
	w.t.Helper()
	c, err := config.Load(w.options().Config)
	w.must(err)
	w.must(config.AddRecorded(w.root, c))
	roots := former.New(former.Options{Config: c, Sysroot: w.root, RunDir: w.run})
	defer roots.Close()
	opts := c.In(w.root)
	opts.Former = roots.Named
	_, err = persist.Apply(w.t.Context(), opts, c.Entries())
	w.must(err)
}

// killed carries a request out in a process that is killed. It tells whether there was such a call.
func (w *world) killed(r change.Request, k kill) bool {
	w.t.Helper()
	w.must(change.WriteRequest(w.run, r))
	cmd := exec.Command("strace", "--quiet=all", "--follow-forks", "--output=/dev/null", "--trace="+k.call,
		fmt.Sprintf("--inject=%s:signal=SIGKILL:when=%d", k.call, k.number),
		w.program, "change", "--config="+w.at, "--sysroot="+w.root, "--run-dir="+w.run)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil {
		return false
	}
	if !errors.As(err, &exit) || exit.Exited() && exit.ExitCode() != 137 {
		w.t.Fatalf("killed at %v: %v: %s", k, err, out)
	}
	return true
}

// precious is what must not get lost.
const precious = "precious"

// holds tells whether it is in a file.
func (w *world) holds(path string) bool {
	data, err := os.ReadFile(filepath.Join(w.root, path))
	return err == nil && string(data) == precious
}

func (w *world) recorded(target string) bool {
	data, _ := os.ReadFile(filepath.Join(w.root, config.RecordPath("/persist")))
	return strings.Contains(string(data), fmt.Sprintf("%q", target))
}

// kills runs a test for every call, until there is none of that number.
func kills(test func(k kill) bool) (count int) {
	for _, call := range changing {
		for n := 1; test(kill{call, n}); n++ {
			count++
		}
	}
	return count
}

// TestKilledAtEveryCall kills the program at its system calls that change something, adding and removing a directory and a file.
// What was there is there after it, a half-written record never is, and the next run completes.
func TestKilledAtEveryCall(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []string{"directory", "file"} {
		t.Run("add "+kind, func(t *testing.T) {
			w.t = t
			count := kills(func(k kill) bool {
				target, data := w.subject("add", kind, k)
				w.write(data, precious)
				killed := w.killed(change.Request{ID: "1", Deed: change.Add, Target: target}, k)
				w.wantKept(k, target, data)
				return killed
			})
			w.wantMany(count)
		})
		t.Run("remove "+kind, func(t *testing.T) {
			w.t = t
			count := kills(func(k kill) bool {
				target, data := w.subject("remove", kind, k)
				w.write(data, "seeded")
				w.must(w.carry(change.Request{Deed: change.Add, Target: target}))
				w.write(data, precious)
				killed := w.killed(change.Request{ID: "1", Deed: change.Remove, Target: target}, k)
				w.wantForgotten(k, target, data)
				return killed
			})
			w.wantMany(count)
		})
	}
}

// wantMany guards against a test that kills nothing.
func (w *world) wantMany(kills int) {
	w.t.Helper()
	const least = 10
	if w.t.Logf("killed at %d calls", kills); kills < least {
		w.t.Errorf("killed at %d calls only", kills)
	}
}

// subject names what is to be kept, and a file that holds something precious there.
func (w *world) subject(deed, kind string, k kill) (target, data string) {
	target = fmt.Sprintf("/srv/%s-%s-%s-%d", deed, kind, k.call, k.number)
	if kind == "file" {
		return target, target
	}
	return target, target + "/sub/file"
}

// wantKept checks what a kill left of adding, and completes it.
func (w *world) wantKept(k kill, target, data string) {
	w.t.Helper()
	if !w.holds(data) && !w.holds("/persist"+data) {
		w.t.Fatalf("killed at %v: it is lost", k)
	}
	if w.recorded(target) {
		w.apply()
	} else if err := w.carry(change.Request{Deed: change.Add, Target: target}); err != nil {
		w.t.Errorf("killed at %v: again: %v", k, err)
	}
	if !w.recorded(target) || !w.holds(data) || !w.holds("/persist"+data) {
		w.t.Errorf("killed at %v: not completed", k)
	}
}

// wantForgotten checks what a kill left of removing, and completes it.
func (w *world) wantForgotten(k kill, target, data string) {
	w.t.Helper()
	if !w.holds("/persist" + data) {
		w.t.Fatalf("killed at %v: it is lost", k)
	}
	if w.recorded(target) {
		if err := w.carry(change.Request{Deed: change.Remove, Target: target}); err != nil {
			w.t.Errorf("killed at %v: again: %v", k, err)
		}
	}
	if w.recorded(target) || !w.holds(data) || !w.holds("/persist"+data) {
		w.t.Errorf("killed at %v: not completed", k)
	}
}

// TestRecordedWhatIsInPlace: the table of file managers can't be written, as /run is full. The entry is in its place all the same, and
// what is written there from now on is to be there at the next boot.
func TestRecordedWhatIsInPlace(t *testing.T) {
	w := newWorld(t)
	text, err := os.ReadFile(w.at)
	w.must(err)
	w.must(os.WriteFile(w.at, append(text, "hideMounts = true\n"...), 0o644))
	btrfstest.Run(t, "mount", "--mkdir", "-t", "tmpfs", "-o", "ro", "tmpfs", "/run/mount")
	t.Cleanup(func() { btrfstest.Run(t, "umount", "/run/mount") })
	w.write("/srv/app/file", "before")
	if err := w.carry(change.Request{Deed: change.Add, Target: "/srv/app"}); err == nil {
		t.Error("that the table can't be written is not told")
	}
	w.write("/srv/app/file", precious)
	if !w.holds("/persist/srv/app/file") || !w.recorded("/srv/app") {
		t.Errorf("on the volume: %t, recorded: %t", w.holds("/persist/srv/app/file"), w.recorded("/srv/app"))
	}
}

// TestRecordedWhatIsInPlaceAndNotAsConfigured: the place can't be given the mode, as it is immutable. It is mounted on all the same.
func TestRecordedWhatIsInPlaceAndNotAsConfigured(t *testing.T) {
	w := newWorld(t)
	w.write("/srv/app/file", "before")
	btrfstest.Run(t, "chattr", "+i", filepath.Join(w.root, "/srv/app"))
	mode := uint32(0o750)
	if err := w.carry(change.Request{Deed: change.Add, Target: "/srv/app", Mode: &mode}); err == nil {
		t.Error("that it is not as configured is not told")
	}
	w.write("/srv/app/file", precious)
	if !w.holds("/persist/srv/app/file") || !w.recorded("/srv/app") {
		t.Errorf("on the volume: %t, recorded: %t", w.holds("/persist/srv/app/file"), w.recorded("/srv/app"))
	}
}

// usedMeanwhile has a program begin to write between the plan of a change and the change.
type usedMeanwhile struct {
	context.Context
	use func()
}

func (u usedMeanwhile) Err() error {
	u.use()
	return u.Context.Err()
}

// TestRefusedIsNotRecorded: what a program opened after the plan was made is refused, and so is not to be kept at the next boot either.
func TestRefusedIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	w.write("/srv/app/file", precious)
	use := sync.OnceFunc(func() {
		f, err := os.OpenFile(filepath.Join(w.root, "/srv/app/file"), os.O_WRONLY|os.O_APPEND, 0)
		w.must(err)
		t.Cleanup(func() { _ = f.Close() })
	})
	reply := change.Carry(usedMeanwhile{t.Context(), use}, w.options(), change.Request{Deed: change.Add, Target: "/srv/app"})
	if err := reply.Err(); !errors.Is(err, persist.ErrBusy) {
		t.Errorf("error %v", err)
	}
	if w.recorded("/srv/app") {
		t.Error("it is recorded all the same")
	}
}

// TestNextBootOfWhatTheVolumeHas: what was kept once lies on the volume, and the next boot would put that in place, without what is written until then.
func TestNextBootOfWhatTheVolumeHas(t *testing.T) {
	w := newWorld(t)
	add, remove := change.Request{Deed: change.Add, Target: "/srv/app"}, change.Request{Deed: change.Remove, Target: "/srv/app"}
	later := change.Request{Deed: change.Add, Target: "/srv/app", NextBoot: true}
	w.write("/srv/app/file", "before")
	w.must(w.carry(add))
	w.must(w.carry(remove))
	if err := w.carry(later); !errors.Is(err, persist.ErrConflict) || !strings.Contains(err.Error(), "/persist/srv/app is on the volume already") {
		t.Errorf("got %v", err)
	}
	if w.recorded("/srv/app") {
		t.Error("it is recorded all the same")
	}
	w.must(w.carry(add))
	w.must(w.carry(change.Request{Deed: change.Remove, Target: "/srv/app", NextBoot: true}))
	w.must(w.carry(later)) // it is in its place
	if !w.recorded("/srv/app") {
		t.Error("what is in its place is not recorded")
	}
}

// TestConfiguredMeanwhileStaysRecorded: what is recorded and then configured, too, is still to be taken from the root that it was added
// in, also when something else is recorded or forgotten after it.
func TestConfiguredMeanwhileStaysRecorded(t *testing.T) {
	w := newWorld(t)
	w.write("/srv/app/file", precious)
	w.write("/srv/other/file", "")
	w.must(w.carry(change.Request{Deed: change.Add, Target: "/srv/app", NextBoot: true}))
	text, err := os.ReadFile(w.at)
	w.must(err)
	w.must(os.WriteFile(w.at, append(text, "directories = [\"/srv/app\"]\n"...), 0o644))
	w.must(w.carry(change.Request{Deed: change.Add, Target: "/srv/other"}))
	w.must(w.carry(change.Request{Deed: change.Remove, Target: "/srv/other"}))
	c, err := config.Load(w.options().Config)
	w.must(err)
	w.must(config.AddRecorded(w.root, c))
	if e := c.Entries(); len(e) != 1 || e[0].Target != "/srv/app" || e[0].AddedIn == (persist.RootName{}) {
		t.Errorf("got %+v", e)
	}
	if !w.recorded("/srv/app") || w.recorded("/srv/other") {
		t.Errorf("recorded: %t, %t", w.recorded("/srv/app"), w.recorded("/srv/other"))
	}
}

// TestWrongRecordStays: a record that can't be read is not written anew, and what is wrong is told; nor is an entry recorded twice.
func TestWrongRecordStays(t *testing.T) {
	w := newWorld(t)
	w.write("/srv/app/file", precious)
	add := change.Request{Deed: change.Add, Target: "/srv/app", NextBoot: true}
	w.must(w.carry(add))
	if err := w.carry(add); !errors.Is(err, change.ErrInvalid) || !strings.Contains(err.Error(), "an entry already") {
		t.Errorf("recorded twice: %v", err)
	}
	record := config.RecordPath("/persist")
	text, err := os.ReadFile(filepath.Join(w.root, record))
	w.must(err)
	broken := string(text) + "directories = [\n"
	w.write(record, broken)
	w.write("/srv/other/file", precious)
	for _, r := range []change.Request{{Deed: change.Add, Target: "/srv/other"}, {Deed: change.Remove, Target: "/srv/app"}} {
		if err := w.carry(r); !errors.Is(err, change.ErrConfiguration) {
			t.Errorf("%s: %v", r.Deed, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(w.root, record)); string(text) != broken {
		t.Errorf("the record is %q, %v", text, err)
	}
}
