package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// A victim is this test binary run again as a daemon that starts one job, and kills itself when it has told of so many
// changes of jobs: at each step that a job shows. How often it tells of roots differs from run to run, as their directory is
// watched besides.

// victimEnv holds the order of a victim.
const victimEnv = "IMPERMANENCE_TEST_VICTIM"

type order struct {
	Config, RunDir, Sysroot, Top string
	Job                          string
	Dies                         int32 // at which change of jobs
}

// victim carries an order out. It ends with 0 when the job ended before its time had come.
func victim(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	d := daemon.New(daemon.Options{
		Config: config.LoadOptions{Path: o.Config}, RunDir: o.RunDir, Sysroot: o.Sysroot, Top: o.Top, Log: zap.NewNop().Sugar(), Now: time.Now,
	})
	var changes atomic.Int32
	d.OnChange(func(what dbus.Change) {
		if what&(dbus.JobsChanged|dbus.JobEnded) != 0 && changes.Add(1) == o.Dies {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	id, err := killables[o.Job].start(d)
	if err != nil {
		return err
	}
	job, err := d.WaitJob(context.Background(), id)
	return errors.Join(err, job.Error.Err())
}

// killable is a job that a kill may interrupt.
type killable struct {
	// start starts it; errNothingToDo when it was done to its end before.
	start func(d *daemon.Daemon) (uint64, error)
	// undo is started, and ends, before each kill, so that there is something to do.
	undo func(d *daemon.Daemon) (uint64, error)
	// cleans says that after the next run nothing half done is left over.
	cleans bool
}

var errNothingToDo = errors.New("nothing to do")

// killables are the jobs, by their operations. A job that writes has its row here.
var killables = map[string]killable{
	"create-snapshot": {start: func(d *daemon.Daemon) (uint64, error) {
		return d.CreateSnapshot(context.Background(), anybody, "a label")
	}},
	"prune": {cleans: true, start: func(d *daemon.Daemon) (uint64, error) {
		one := uint32(1)
		return d.Prune(context.Background(), anybody, dbus.PruneOptions{KeepLast: &one})
	}},
	"delete-roots": {cleans: true, start: startDelete},
	"apply-persistence": {start: func(d *daemon.Daemon) (uint64, error) {
		return d.ApplyPersistence(context.Background(), anybody, nil)
	}},
	"add-persistence":    {start: startChange(dbus.AddEntry), undo: startChange(dbus.RemoveEntry)},
	"remove-persistence": {start: startChange(dbus.RemoveEntry), undo: startChange(dbus.AddEntry)},
	"unmount-entry":      {start: startChange(dbus.UnmountEntry), undo: startChange(dbus.AddEntry)},
	"restore":            {start: startRestore},
}

// restorable is what each old root has to be restored.
var restorable = map[string]string{"etc/app/one": "restorable", "etc/app/two": "restorable"}

// startRestore restores the newest old root's /etc/app, each time to another place, for a client in this process.
func startRestore(d *daemon.Daemon) (uint64, error) {
	list, err := d.Roots(context.Background(), dbus.RootFilter{})
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return 0, err
	}
	here, there := net.Pipe()
	server := dbus.NewServer(dbus.ServerConfig{Peer: there, Backend: d, Authorizer: dbus.RootAlone{}, StreamDir: dir})
	ctx := context.Background()
	go func() {
		_ = server.Run(ctx) // until the client leaves
		_ = os.RemoveAll(dir)
	}()
	client, err := dbus.NewClient(ctx, dbus.ClientOptions{Peer: here})
	if err != nil {
		return 0, err
	}
	results, err := client.Restore(ctx, list[0].ID, dbus.RestoreOptions{Paths: []string{"/etc/app"}, To: fmt.Sprintf("/back/%d", time.Now().UnixNano())})
	if err != nil {
		return 0, errors.Join(err, client.Close())
	}
	go func() {
		for _, err := range results.All(ctx) {
			if err != nil {
				break
			}
		}
		_ = client.Close()
	}()
	return results.Job(), nil
}

func startDelete(d *daemon.Daemon) (uint64, error) {
	list, err := d.Roots(context.Background(), dbus.RootFilter{})
	if err != nil {
		return 0, err
	}
	var ids []uint64
	for _, r := range list {
		if len(r.ProtectReasons) == 0 {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return 0, errNothingToDo
	}
	return d.DeleteRoots(context.Background(), anybody, ids)
}

// startChange begins or ends to keep /var/kept.
func startChange(deed dbus.EntryDeed) func(*daemon.Daemon) (uint64, error) {
	return func(d *daemon.Daemon) (uint64, error) {
		isEntry := slices.ContainsFunc(d.Entries(), func(e dbus.Entry) bool { return e.Target == "/var/kept" })
		switch {
		case deed == dbus.AddEntry && isEntry: // recorded, and not known to be in place
			return d.ApplyPersistence(context.Background(), anybody, []string{"/var/kept"})
		case deed == dbus.RemoveEntry && !isEntry:
			return 0, errNothingToDo
		}
		return d.ChangeEntry(context.Background(), anybody, dbus.EntryChange{Deed: deed, Target: "/var/kept"})
	}
}

// kill runs a victim and tells whether it died.
func (m *machine) kill(t *testing.T, job string, at int32) (died bool) {
	t.Helper()
	text, err := json.Marshal(order{m.config, m.runDir, m.sysroot, m.top, job, at})
	must(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+string(text), "TMPDIR="+bustest.PublicDir(t)) // a victim tidies nothing up, and the path of a socket is short
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("the victim of change %d: %v\n%s", at, err, out)
	}
	return false
}

// nestedIn is how many subvolumes the roots of this test have in them.
const nestedIn = 3

// TestKilledInEachStage kills the daemon at every change that a job shows. The next daemon tells that the job was
// interrupted, what stands of every root is what it says, and the same job then ends well.
func TestKilledInEachStage(t *testing.T) {
	for job, k := range killables {
		t.Run(job, func(t *testing.T) {
			m := newMachine(t)
			m.configure(t, "[persistence.\"/persist\"]\ndirectories = [\"/var/log\", \"/srv\"]\nfiles = [\"/etc/hostname\"]\n")
			must(t, os.MkdirAll(filepath.Join(m.sysroot, "var/log"), 0o755))
			m.write(t, "var/kept/data", "precious")
			died, ended := true, false
			at := int32(1)
			for ; died; at++ {
				m.prepare(t, k)
				died = m.kill(t, job, at)
				if died && ended {
					t.Errorf("at change %d the job was said to have ended, and there are more", at-1)
				}
				ended = m.checkTruth(t, job, at, died)
				m.wantText(t, "var/kept/data", "precious")
				m.checkRestored(t, at)
			}
			if at < 5 {
				t.Errorf("%s shows only %d changes", job, at-2)
			}
			t.Logf("killed at each of %d changes", at-2)
		})
	}
}

// prepare makes work for a job.
func (m *machine) prepare(t *testing.T, k killable) {
	t.Helper()
	for age := len(m.rolledOver(t)); age < 3; age++ {
		m.fill(t, m.oldRoot(t, time.Duration(10-age)*day, "a", "a/b", "c"), restorable)
	}
	if k.undo == nil {
		return
	}
	d := m.start(t, func(o *daemon.Options) { o.Log, o.Now = zap.NewNop().Sugar(), time.Now })
	id, err := k.undo(d)
	if errors.Is(err, errNothingToDo) {
		return
	}
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone {
		t.Fatalf("undo: %+v", job)
	}
}

// checkTruth compares what a new daemon tells with what there is. It returns whether the job is said to have ended.
func (m *machine) checkTruth(t *testing.T, job string, at int32, died bool) (ended bool) {
	t.Helper()
	d := m.start(t, func(o *daemon.Options) { o.Log, o.Now = zap.NewNop().Sugar(), time.Now })
	told := d.Jobs()
	if len(told) > 1 || !died && len(told) != 0 {
		t.Fatalf("change %d: %d jobs are told of", at, len(told))
	}
	for _, j := range told {
		if j.Operation != job || j.State != dbus.JobDone || j.Result != dbus.ResultFailed || !strings.Contains(j.Error.Message, "interrupted") {
			t.Errorf("change %d: told of %+v", at, j)
		}
	}
	list := roots(t, d)
	if len(list) != len(m.rolledOver(t)) {
		t.Errorf("change %d: listed %d of %v", at, len(list), m.rolledOver(t))
	}
	for name, r := range list {
		m.checkRoot(t, at, name, r)
	}
	id, err := killables[job].start(d)
	if errors.Is(err, errNothingToDo) {
		return len(told) == 0
	}
	if again := finish(t, d, id, err); again.Result != dbus.ResultDone || len(told) == 1 && again.ID <= told[0].ID {
		t.Errorf("change %d: the next one ended as %+v", at, again)
	}
	for name, r := range roots(t, d) {
		if killables[job].cleans && (r.Deleting || r.Kind == "discarded") {
			t.Errorf("change %d: %s is left over", at, name)
		}
	}
	return len(told) == 0
}

// checkRoot holds what is told of a root against what is in it.
func (m *machine) checkRoot(t *testing.T, at int32, name string, r dbus.Root) {
	t.Helper()
	whole := 0
	for _, nested := range []string{"a", "a/b", "c"} {
		if _, err := os.Stat(filepath.Join(m.top, r.Path, nested, "file")); err == nil {
			whole++
		}
	}
	switch {
	case r.Kind == "old" && !r.Deleting && whole != nestedIn:
		t.Errorf("change %d: %s is said to be whole and has %d of %d subvolumes", at, name, whole, nestedIn)
	case r.Kind == "snapshot" && (r.Label != "a label" || !r.ReadOnly || r.BootID == ""):
		t.Errorf("change %d: a snapshot is there without all that belongs to it: %+v", at, r)
	}
}

// checkRestored holds that whatever was restored is whole.
func (m *machine) checkRestored(t *testing.T, at int32) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(m.sysroot, "back/*/app/*"))
	must(t, err)
	for _, file := range found {
		if text, err := os.ReadFile(file); err != nil || string(text) != "restorable" {
			t.Errorf("change %d: %s is %q, %v", at, file, text, err)
		}
	}
}

func victimMain() {
	if text := os.Getenv(victimEnv); text != "" {
		if err := victim(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}
