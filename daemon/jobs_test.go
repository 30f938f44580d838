package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/daemon/retention"
	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// gate holds up who asks for the time, so that a test finds a job at work.
type gate struct {
	reached chan struct{} // gets a value when somebody asks
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) now() time.Time {
	g.reached <- struct{}{}
	<-g.open
	return now
}

func TestBusyNamesTheJobInTheWay(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	g := newGate()
	d := m.start(t, func(o *daemon.Options) { o.Now = g.now })
	pruning, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
	must(t, err)
	<-g.reached

	id := roots(t, d)[old].ID // readers don't wait
	for what, call := range map[string]func() error{
		"snapshot": func() error { _, err := d.CreateSnapshot(t.Context(), anybody, ""); return err },
		"prune":    func() error { _, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{}); return err },
		"delete":   func() error { _, err := d.DeleteRoots(t.Context(), anybody, []uint64{id}); return err },
		"pin":      func() error { return d.SetPinned(t.Context(), id, true) },
		"next":     func() error { return d.SetNextBoot(t.Context(), "keep") },
	} {
		err := call()
		wantError(t, what, err, dbus.ErrBusy)
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("job %d (prune)", pruning)) {
			t.Errorf("%s: %v does not name the job", what, err)
		}
	}
	if diff := cmp.Diff([]uint64{pruning}, d.Manager().ActiveJobs); diff != "" {
		t.Errorf("active jobs: %s", diff)
	}
	close(g.open)
	if job := finish(t, d, pruning, nil); job.Result != dbus.ResultDone {
		t.Errorf("ended as %+v", job)
	}
	must(t, d.SetPinned(t.Context(), id, true))
}

// Canceled in the middle, a job has done some, says what, and what is left is whole.
func TestCancelInTheMiddle(t *testing.T) {
	m := newMachine(t)
	for age := range 6 {
		m.oldRoot(t, time.Duration(10-age)*day)
	}
	one := uint32(1)
	d := m.start(t)
	var once sync.Once
	d.OnChange(func(dbus.Change) {
		for _, j := range d.Jobs() {
			if j.ItemsDone == 2 {
				once.Do(func() { must(t, d.CancelJob(t.Context(), j.ID)) })
			}
		}
	})
	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
	job := finish(t, d, id, err)
	if job.Result != dbus.ResultCanceled || job.Cancelable || job.ItemsDone != 2 || job.ItemsTotal != 5 {
		t.Fatalf("ended as %+v", job)
	}
	wantError(t, "its error", job.Error.Err(), dbus.ErrCanceled)
	if deleted, _ := job.Details["deleted"].([]string); len(deleted) != 2 {
		t.Errorf("details: %v", job.Details)
	}
	if left := m.rolledOver(t); len(left) != 4 {
		t.Errorf("left: %v", left)
	}
	id, err = d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone || len(m.rolledOver(t)) != 1 {
		t.Errorf("the next one ended as %+v and left %v", job, m.rolledOver(t))
	}
}

// pruneFive prunes all but the last of five old roots, and calls meanwhile with their names once the job is as far as told.
func pruneFive(t *testing.T, m *machine, far func(dbus.Job) bool, meanwhile func(names []string)) (names []string, ended dbus.Job) {
	t.Helper()
	for age := range 5 {
		names = append(names, m.oldRoot(t, time.Duration(10-age)*day))
	}
	one := uint32(1)
	d := m.start(t)
	var once sync.Once
	d.OnChange(func(dbus.Change) {
		for _, j := range d.Jobs() {
			if far(j) {
				once.Do(func() { meanwhile(names) })
			}
		}
	})
	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{KeepLast: &one})
	ended = finish(t, d, id, err)
	if diff := cmp.Diff([]string{names[0], names[1], names[3]}, ended.Details["deleted"]); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	return names, ended
}

// One that is pinned while the job is at work is kept; the job goes on, and reports both lists.
func TestPinnedMeanwhile(t *testing.T) {
	m := newMachine(t)
	names, job := pruneFive(t, m, func(j dbus.Job) bool { return j.ItemsDone == 1 }, func(names []string) {
		setAttribute(t, filepath.Join(m.top, "old_roots", names[2]), "pinned", "1")
	})
	if job.Result != dbus.ResultPartial {
		t.Fatalf("ended as %+v", job)
	}
	wantError(t, "its error", job.Error.Err(), dbus.ErrProtected)
	failed, _ := job.Details["failed"].([]string)
	if len(failed) != 1 || !strings.HasPrefix(failed[0], names[2]+": ") || !strings.Contains(failed[0], "pinned") {
		t.Errorf("failed: %v", failed)
	}
	if job.Error.Message != strings.Join(failed, "; ") {
		t.Errorf("the message of a partial job is %q: its result says that it is one", job.Error.Message)
	}
	if diff := cmp.Diff([]string{names[2], names[4]}, m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// One that somebody else deletes while the job is at work is gone, as the job wants it.
func TestDeletedMeanwhile(t *testing.T) {
	m := newMachine(t)
	names, job := pruneFive(t, m, func(j dbus.Job) bool { return j.Stage == "deleting" }, func(names []string) {
		btrfstest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(m.top, "old_roots", names[2]))
	})
	if job.Result != dbus.ResultDone {
		t.Fatalf("ended as %+v", job)
	}
	if diff := cmp.Diff([]string{names[4]}, m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// Another process that works on the file system is waited for by nobody; it is said that it is there.
func TestBusyElsewhere(t *testing.T) {
	m := newMachine(t)
	old := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	d := m.start(t)
	var once sync.Once
	other := m.start(t)
	other.OnChange(func(dbus.Change) {
		for _, j := range other.Jobs() {
			if j.ItemsDone == 1 && j.State == dbus.JobRunning && j.ProgressValid {
				once.Do(func() {
					wantError(t, "pin", d.SetPinned(t.Context(), roots(t, d)[m.rolledOver(t)[0]].ID, true), dbus.ErrBusy)
				})
			}
		}
	})
	id, err := other.DeleteRoots(t.Context(), anybody, []uint64{roots(t, d)[old].ID})
	if job := finish(t, other, id, err); job.Result != dbus.ResultDone {
		t.Errorf("ended as %+v", job)
	}
}

// Below minFree the oldest go, one after the other, until there is room; not one more.
func TestPruneForSpace(t *testing.T) {
	m := newMachine(t)
	const size = 20 << 20
	var names []string
	for age := range 5 {
		name := m.oldRoot(t, time.Duration(10-age)*day)
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i*i>>8) ^ byte(age)
		}
		must(t, os.WriteFile(filepath.Join(m.top, "old_roots", name, "file"), data, 0o644))
		names = append(names, name)
	}
	btrfstest.Run(t, "btrfs", "filesystem", "sync", m.top)
	free := freeOf(t, m)
	m.configure(t, fmt.Sprintf("[retention]\nkeepWithin = \"30d\"\nminFree = \"%dMiB\"\n", (free+3*size/2)>>20))
	d := m.start(t)

	planned := func(reasons ...string) (names []string) {
		plan, err := d.PlanPrune(t.Context(), dbus.PruneOptions{})
		must(t, err)
		for _, item := range plan {
			if item.Remove && slices.Equal(item.Reasons, reasons) {
				names = append(names, item.Name)
			}
		}
		return names
	}
	// A call does not wait for sizes: what is not known frees nothing.
	patient := d.DoNotSearchForSizes()
	if diff := cmp.Diff(names[:4], planned(retention.ReasonNeed, retention.ReasonUnsized)); diff != "" {
		t.Errorf("planned without sizes (-want +got):\n%s", diff)
	}
	patient()
	if diff := cmp.Diff(names[:2], planned(retention.ReasonNeed)); diff != "" {
		t.Errorf("planned (-want +got):\n%s", diff)
	}
	d.DoNotSearchForSizes()
	if diff := cmp.Diff(names[:2], planned(retention.ReasonNeed)); diff != "" {
		t.Errorf("planned once sizes are known (-want +got):\n%s", diff)
	}
	id, err := d.Prune(t.Context(), anybody, dbus.PruneOptions{})
	if job := finish(t, d, id, err); job.Result != dbus.ResultDone || job.ItemsDone != 2 {
		t.Fatalf("ended as %+v", job)
	}
	if diff := cmp.Diff(names[2:], m.rolledOver(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if got := freeOf(t, m); got < free+3*size/2 {
		t.Errorf("%d MiB are free, wanted %d", got>>20, (free+3*size/2)>>20)
	}
}

func freeOf(t *testing.T, m *machine) uint64 {
	t.Helper()
	fs, err := btrfsops.OpenMounted(m.top)
	must(t, err)
	defer func() { must(t, fs.Close()) }()
	space, err := fs.Space()
	must(t, err)
	return space.Free
}

// What is not there any more, or never was, is said by its name on the bus.
func TestUnknownJob(t *testing.T) {
	d := newMachine(t).start(t)
	_, err := d.WaitJob(t.Context(), 99)
	wantError(t, "wait", err, dbus.ErrNoSuchJob)
	wantError(t, "cancel", d.CancelJob(t.Context(), 99), dbus.ErrNoSuchJob)
}

// A device that is no btrfs, or not there, costs an answer, not the daemon.
func TestWrongDevice(t *testing.T) {
	m := newMachine(t)
	image := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	for device, want := range map[string]error{
		btrfstest.Attach(t, image): dbus.ErrNotBtrfs,
		"/dev/missing":             os.ErrNotExist,
		"relative":                 dbus.ErrInvalidConfiguration,
	} {
		d := m.start(t, func(o *daemon.Options) { o.Device = device })
		_, err := d.Roots(t.Context(), dbus.RootFilter{})
		wantError(t, device, err, want)
		if d.Manager().Filesystem != "" {
			t.Errorf("%s has a file system", device)
		}
		id, err := d.CreateSnapshot(t.Context(), anybody, "")
		if err == nil {
			if job := finish(t, d, id, err); job.Result != dbus.ResultFailed {
				t.Errorf("%s: a snapshot ended as %s", device, job.Result)
			}
		} else if !errors.Is(err, want) {
			t.Errorf("%s: snapshot: %v", device, err)
		}
	}
}
