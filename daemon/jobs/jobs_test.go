package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/jobs"
)

// start starts a job that must be accepted.
func start(t *testing.T, e *jobs.Engine, r jobs.Request) uint64 {
	t.Helper()
	id, err := e.Start(r)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wait(t *testing.T, e *jobs.Engine, id uint64) jobs.Job {
	t.Helper()
	j, err := e.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func returns(err error) func(context.Context, *jobs.Progress) error {
	return func(context.Context, *jobs.Progress) error { return err }
}

// untilCanceled works until it is told to end.
func untilCanceled(ctx context.Context, _ *jobs.Progress) error {
	<-ctx.Done()
	return fmt.Errorf("work: %w", ctx.Err())
}

func TestResults(t *testing.T) {
	failure := errors.New("disk on fire")
	for name, c := range map[string]struct {
		run    func(context.Context, *jobs.Progress) error
		result jobs.Result
		is     error
	}{
		"done":               {returns(nil), jobs.Succeeded, nil},
		"failed":             {returns(failure), jobs.Failed, failure},
		"partial":            {returns(fmt.Errorf("work: %w", jobs.Partly(failure))), jobs.Partial, failure},
		"panic":              {func(context.Context, *jobs.Progress) error { panic("broken invariant") }, jobs.Failed, jobs.ErrPanic},
		"nobody canceled it": {returns(context.Canceled), jobs.Failed, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			e := jobs.New(jobs.Options{})
			j := wait(t, e, start(t, e, jobs.Request{Run: c.run}))
			if j.State != jobs.Done || j.Result != c.result || !errors.Is(j.Err, c.is) {
				t.Errorf("%s %s (%v), want %s (%v)", j.State, j.Result, j.Err, c.result, c.is)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	e := jobs.New(jobs.Options{})
	id := start(t, e, jobs.Request{Operation: "prune", Cancelable: true, Run: untilCanceled})
	if err := e.Cancel(id); err != nil {
		t.Fatal(err)
	}
	if j := wait(t, e, id); j.Result != jobs.Canceled || j.Cancelable {
		t.Errorf("result %s, cancelable %v", j.Result, j.Cancelable)
	}
	if err := e.Cancel(id); err != nil {
		t.Errorf("cancel of an ended job: %v", err)
	}
	if err := e.Cancel(99); !errors.Is(err, jobs.ErrNoSuchJob) {
		t.Errorf("cancel of no job: %v", err)
	}
	release := make(chan struct{})
	id = start(t, e, jobs.Request{Run: func(context.Context, *jobs.Progress) error { <-release; return nil }})
	if err := e.Cancel(id); !errors.Is(err, jobs.ErrNotCancelable) {
		t.Errorf("cancel of one that can't be: %v", err)
	}
	close(release)
	if j := wait(t, e, id); j.Result != jobs.Succeeded {
		t.Errorf("result %s", j.Result)
	}
}

// A job that ends well in spite of its cancel has done its work, and says so.
func TestCancelTooLate(t *testing.T) {
	e := jobs.New(jobs.Options{})
	id := start(t, e, jobs.Request{Cancelable: true, Run: func(ctx context.Context, _ *jobs.Progress) error {
		<-ctx.Done()
		return nil
	}})
	if err := e.Cancel(id); err != nil {
		t.Fatal(err)
	}
	if j := wait(t, e, id); j.Result != jobs.Succeeded {
		t.Errorf("result %s", j.Result)
	}
}

func TestOneWriter(t *testing.T) {
	e := jobs.New(jobs.Options{})
	first := start(t, e, jobs.Request{Operation: "prune", Writes: []string{"disk"}, Cancelable: true, Run: untilCanceled})
	_, err := e.Start(jobs.Request{Operation: "create-snapshot", Writes: []string{"disk"}, Run: returns(nil)})
	var busy *jobs.BusyError
	if !errors.As(err, &busy) || !errors.Is(err, jobs.ErrBusy) || busy.Job != first || busy.Operation != "prune" {
		t.Fatalf("second writer: %v", err)
	}
	if _, err := e.Claim("disk"); !errors.As(err, &busy) {
		t.Errorf("claim: %v", err)
	}
	wait(t, e, start(t, e, jobs.Request{Writes: []string{"other disk", "third disk"}, Run: returns(nil)}))
	wait(t, e, start(t, e, jobs.Request{Run: returns(nil)}))
	if err := e.Cancel(first); err != nil {
		t.Fatal(err)
	}
	wait(t, e, first)
	wait(t, e, start(t, e, jobs.Request{Writes: []string{"disk"}, Run: returns(nil)}))
	release, err := e.Claim("disk")
	if err != nil {
		t.Fatalf("claim after the end: %v", err)
	}
	release()
}

// Claims wait for each other, and a job waits for a claim; neither is refused for it.
func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := jobs.New(jobs.Options{})
		release, err := e.Claim("disk")
		if err != nil {
			t.Fatal(err)
		}
		var second atomic.Bool
		go func() {
			release, err := e.Claim("disk")
			if err != nil {
				t.Error(err)
				return
			}
			second.Store(true)
			release()
		}()
		synctest.Wait()
		if second.Load() {
			t.Error("two claims at once")
		}
		release()
		synctest.Wait()
		if !second.Load() {
			t.Error("the second claim waits for nobody")
		}

		release, err = e.Claim("disk")
		if err != nil {
			t.Fatal(err)
		}
		id := start(t, e, jobs.Request{Writes: []string{"disk"}, Run: returns(nil)})
		synctest.Wait()
		if j := e.Jobs()[0]; j.State != jobs.Queued {
			t.Errorf("the job is %s beside a claim", j.State)
		}
		release()
		wait(t, e, id)
	})
}

// What a process leaves unfinished, the next one tells: a job that was interrupted. Ids go on.
func TestInterruptedJobsAreTold(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "jobs")
	killed := jobs.New(jobs.Options{Journal: journal})
	wait(t, killed, start(t, killed, jobs.Request{Operation: "create-snapshot", Run: returns(nil)}))
	defer killed.Stop()
	id := start(t, killed, jobs.Request{Operation: "prune", Objects: []string{"/a"}, Sender: ":1.7", UID: 1000, Cancelable: true, Run: untilCanceled})

	next := jobs.New(jobs.Options{Journal: journal})
	list := next.Jobs()
	if len(list) != 1 {
		t.Fatalf("told of %d jobs: %+v", len(list), list)
	}
	j := list[0]
	if j.ID != id || j.Operation != "prune" || j.UID != 1000 || j.Sender != ":1.7" || len(j.Objects) != 1 || j.Started.IsZero() {
		t.Errorf("told: %+v", j)
	}
	if j.State != jobs.Done || j.Result != jobs.Failed || !errors.Is(j.Err, jobs.ErrInterrupted) {
		t.Errorf("ended as %s %s: %v", j.State, j.Result, j.Err)
	}
	if j := wait(t, next, id); j.ID != id {
		t.Errorf("waited for %+v", j)
	}
	if later := start(t, next, jobs.Request{Run: returns(nil)}); later != id+1 {
		t.Errorf("the next job is %d after %d", later, id)
	}
	if list := jobs.New(jobs.Options{Journal: journal}).Jobs(); len(list) > 1 {
		t.Errorf("told twice: %+v", list)
	}
}

// A job that another process is at work on is not told of.
func TestJobsOfALivingProcessAreItsOwn(t *testing.T) {
	journal := t.TempDir()
	leaveRecord(t, journal, startOf(t, os.Getppid()))
	e := jobs.New(jobs.Options{Journal: journal})
	if len(e.Jobs()) != 0 {
		t.Errorf("told: %+v", e.Jobs())
	}
	if id := start(t, e, jobs.Request{Run: returns(nil)}); id != 8 {
		t.Errorf("id %d", id)
	}
	if _, err := os.Stat(filepath.Join(journal, "7.json")); err != nil {
		t.Error(err)
	}
}

// One that another process has left is told of when its number is another process's by now.
func TestNumbersOfProcessesAreUsedAgain(t *testing.T) {
	journal := t.TempDir()
	leaveRecord(t, journal, startOf(t, os.Getppid())-1)
	if list := jobs.New(jobs.Options{Journal: journal}).Jobs(); len(list) != 1 || !errors.Is(list[0].Err, jobs.ErrInterrupted) {
		t.Errorf("told: %+v", list)
	}
}

// leaveRecord leaves that of a job that this process's parent runs, when it has begun at that time.
func leaveRecord(t *testing.T, journal string, begun uint64) {
	t.Helper()
	record := fmt.Sprintf(`{"operation": "prune", "sender": ":1.1", "started": "2026-11-23T08:00:00Z", "pid": %d, "begun": %d}`, os.Getppid(), begun)
	if err := os.WriteFile(filepath.Join(journal, "7.json"), []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startOf is when a process began, in clock ticks after the boot.
func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var begun uint64
	after := string(stat[bytes.LastIndexByte(stat, ')')+1:])
	if _, err := fmt.Sscan(strings.Fields(after)[19], &begun); err != nil {
		t.Fatal(err)
	}
	return begun
}

// A journal that is damaged, or can't be written, costs what it would have told.
func TestDamagedJournal(t *testing.T) {
	journal := t.TempDir()
	for name, text := range map[string]string{"7.json": "{", "next": "x", "8.json": "[]", "notes.txt": "mine", "x.json": "{}"} {
		if err := os.WriteFile(filepath.Join(journal, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := jobs.New(jobs.Options{Journal: journal})
	if len(e.Jobs()) != 0 {
		t.Errorf("told: %+v", e.Jobs())
	}
	if id := start(t, e, jobs.Request{Run: returns(nil)}); id != 9 {
		t.Errorf("id %d is given again", id)
	}
	e.Stop()
	e = jobs.New(jobs.Options{Journal: "/proc/nowhere"})
	if j := wait(t, e, start(t, e, jobs.Request{Run: returns(nil)})); j.Result != jobs.Succeeded {
		t.Errorf("without a journal: %s", j.Result)
	}
}

func TestLimits(t *testing.T) {
	e := jobs.New(jobs.Options{PerSender: 2, Active: 3})
	defer e.Stop()
	work := func(sender string) (uint64, error) {
		return e.Start(jobs.Request{Sender: sender, Cancelable: true, Run: untilCanceled})
	}
	var last uint64
	for _, c := range []struct {
		sender string
		want   error
	}{{":1.1", nil}, {":1.1", nil}, {":1.1", jobs.ErrTooMany}, {":1.2", nil}, {":1.3", jobs.ErrTooMany}} {
		id, err := work(c.sender)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.sender, err, c.want)
		}
		last = max(last, id)
	}
	if err := e.Cancel(last); err != nil {
		t.Fatal(err)
	}
	wait(t, e, last)
	if _, err := work(":1.3"); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestProgressNeverGoesBack(t *testing.T) {
	var seen []float64
	var e *jobs.Engine
	e = jobs.New(jobs.Options{Changed: func(bool) {
		for _, j := range e.Jobs() {
			if j.ProgressValid {
				seen = append(seen, j.Progress)
			}
		}
	}})
	id := start(t, e, jobs.Request{Run: func(_ context.Context, p *jobs.Progress) error {
		p.Stage("deleting")
		p.Items(0, 4, 0)
		p.Items(1, 4, 0.5)
		p.Items(0, 4, 0.1)
		p.Items(3, 8, 0) // more turned out to be there
		p.Items(8, 8, 0.5)
		p.Detail("deleted", []string{"a"})
		return nil
	}})
	j := wait(t, e, id)
	for i := 1; i < len(seen); i++ {
		if seen[i] < seen[i-1] {
			t.Fatalf("progress went back: %v", seen)
		}
	}
	if j.Progress != 1 || j.ItemsDone != 8 || j.ItemsTotal != 8 || j.Stage != "deleting" {
		t.Errorf("ended as %+v", j)
	}
	if diff := cmp.Diff(map[string]any{"deleted": []string{"a"}}, j.Details); diff != "" {
		t.Error(diff)
	}
}

// A job is readable for a while after its end, then forgotten; the time of the test is synthetic.
func TestKeptAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int32
		e := jobs.New(jobs.Options{Keep: time.Minute, Changed: func(bool) { changes.Add(1) }})
		id := start(t, e, jobs.Request{Run: returns(nil)})
		synctest.Wait()
		time.Sleep(59 * time.Second) //nolint:forbidigo // synthetic time
		if j := wait(t, e, id); j.Result != jobs.Succeeded {
			t.Fatalf("result %s", j.Result)
		}
		before := changes.Load()
		time.Sleep(2 * time.Second) //nolint:forbidigo // synthetic time
		synctest.Wait()
		if _, err := e.Wait(t.Context(), id); !errors.Is(err, jobs.ErrNoSuchJob) {
			t.Errorf("after a minute: %v", err)
		}
		if len(e.Jobs()) != 0 || changes.Load() != before+1 {
			t.Errorf("%d jobs left, %d changes told", len(e.Jobs()), changes.Load()-before)
		}
	})
}

// Many quick jobs don't fill the memory: the oldest ended ones go before their time.
func TestRemembersABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := jobs.New(jobs.Options{Remembered: 10})
		for range 100 {
			wait(t, e, start(t, e, jobs.Request{Run: returns(nil)}))
		}
		if list := e.Jobs(); len(list) != 10 || list[0].ID != 91 {
			t.Errorf("%d jobs, from %d", len(list), list[0].ID)
		}
	})
}

func TestWaitEndsWithItsCaller(t *testing.T) {
	e := jobs.New(jobs.Options{})
	defer e.Stop()
	id := start(t, e, jobs.Request{Cancelable: true, Run: untilCanceled})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Wait(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if j := e.Jobs()[0]; j.State == jobs.Done {
		t.Errorf("the job ended with its caller: %s", j.Result)
	}
}

func TestStop(t *testing.T) {
	e := jobs.New(jobs.Options{})
	canceled := start(t, e, jobs.Request{Cancelable: true, Run: untilCanceled})
	release, stopped := make(chan struct{}), make(chan struct{})
	finished := start(t, e, jobs.Request{Run: func(context.Context, *jobs.Progress) error { <-release; return nil }})
	go func() {
		e.Stop()
		close(stopped)
	}()
	wait(t, e, canceled)
	select {
	case <-stopped:
		t.Fatal("Stop did not wait for a job that can't be canceled")
	default:
	}
	if _, err := e.Start(jobs.Request{Run: returns(nil)}); !errors.Is(err, jobs.ErrStopping) {
		t.Errorf("start while stopping: %v", err)
	}
	close(release)
	<-stopped
	if j := wait(t, e, finished); j.Result != jobs.Succeeded {
		t.Errorf("result %s", j.Result)
	}
}

// Everything at once, for the race detector.
func TestConcurrently(t *testing.T) {
	e := jobs.New(jobs.Options{PerSender: 1000, Active: 1000})
	var clients sync.WaitGroup
	for n := range 20 {
		clients.Go(func() {
			for range 20 {
				id, err := e.Start(jobs.Request{
					Sender: fmt.Sprint(n), Cancelable: true, Writes: []string{fmt.Sprint("disk", n%7)},
					Run: func(_ context.Context, p *jobs.Progress) error {
						p.Items(1, 2, 0)
						p.Detail("n", n)
						return nil
					},
				})
				if err != nil {
					continue
				}
				_ = e.Cancel(id)
				_, _ = e.Wait(context.Background(), id)
				e.Jobs()
			}
		})
	}
	clients.Wait()
	e.Stop()
	for _, j := range e.Jobs() {
		if j.State != jobs.Done {
			t.Errorf("job %d is %s", j.ID, j.State)
		}
	}
}
