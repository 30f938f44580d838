package main

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// scripted is a daemon that answers what a test says: for what a real one does too rarely, or too fast, to be met on
// purpose. The stories in testdata have the real one.
type scripted struct {
	dbus.Backend // what no script needs

	manager dbus.Manager
	entries []dbus.Entry
	plan    []dbus.PlanItem
	err     error                   // of every method that starts a job
	refused error                   // of putting entries in their place
	fixed   bool                    // the job can't be canceled
	changes func(*dbus.Lines) error // what a comparison sends; nil: it has no reader

	mu    sync.Mutex
	roots []dbus.Root
	job   dbus.Job

	// run is called by the method that starts the job. It may change the job with the functions below.
	run      func(*scripted)
	canceled chan struct{} // closed by CancelJob
	ended    chan struct{}
	server   *dbus.Server
	leave    context.CancelFunc // has the daemon leave the bus
}

// permissive allows everything: who may do what is not what is tested here.
type permissive struct{}

func (permissive) Authorize(context.Context, dbus.Caller, string, map[string]string, bool) error {
	return nil
}

// serve runs a scripted daemon on a bus of its own until the test ends, and returns the bus's address.
func serve(t *testing.T, s *scripted) string {
	t.Helper()
	address := bustest.Start(t)
	s.canceled, s.ended = make(chan struct{}), make(chan struct{})
	s.server = dbus.NewServer(dbus.ServerConfig{Address: address, Backend: s, Authorizer: permissive{}, StreamDir: t.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	s.leave = cancel
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	select {
	case <-s.server.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("server: %v", err)
	}
	return address
}

// start begins the one job of the script.
func (s *scripted) start(operation string, ids []uint64) (uint64, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.mu.Lock()
	s.job = dbus.Job{ID: 1, Operation: operation, State: dbus.JobRunning, Cancelable: !s.fixed, ItemsTotal: 2}
	for _, id := range ids {
		s.job.Objects = append(s.job.Objects, dbus.RootPath(id))
	}
	s.mu.Unlock()
	s.server.Changed(dbus.JobsChanged)
	go s.run(s)
	return 1, nil
}

// end ends the job.
func (s *scripted) end(result dbus.JobResult, e dbus.ErrorInfo, details dbus.Details) {
	s.mu.Lock()
	s.job.State, s.job.Result, s.job.Error, s.job.Details = dbus.JobDone, result, e, details
	s.mu.Unlock()
	close(s.ended)
	s.server.Changed(dbus.EverythingChanged)
}

// remove deletes a root as the job's next item.
func (s *scripted) remove(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roots = slices.DeleteFunc(s.roots, func(r dbus.Root) bool { return r.ID == id })
	s.job.ItemsDone++
	s.server.Changed(dbus.JobsChanged)
}

func (s *scripted) Manager() dbus.Manager { return s.manager }
func (s *scripted) Entries() []dbus.Entry { return s.entries }

func (s *scripted) Jobs() []dbus.Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job.ID == 0 {
		return nil
	}
	return []dbus.Job{s.job}
}

func (s *scripted) Roots(context.Context, dbus.RootFilter) ([]dbus.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.roots), nil
}

func (s *scripted) CreateSnapshot(context.Context, dbus.Caller, string) (uint64, error) {
	return s.start("create-snapshot", nil)
}

func (s *scripted) DeleteRoots(_ context.Context, _ dbus.Caller, ids []uint64) (uint64, error) {
	return s.start("delete-roots", ids)
}

func (s *scripted) PlanPrune(context.Context, dbus.PruneOptions) ([]dbus.PlanItem, error) {
	return s.plan, s.err
}

func (s *scripted) Prune(context.Context, dbus.Caller, dbus.PruneOptions) (uint64, error) {
	return s.start("prune", nil)
}

func (s *scripted) ApplyPersistence(context.Context, dbus.Caller, []string) (uint64, error) {
	if s.refused != nil {
		return 0, s.refused
	}
	return s.start("apply-persistence", nil)
}

func (s *scripted) CheckEntryChange(context.Context, dbus.EntryChange) error { return nil }

func (s *scripted) ChangeEntry(_ context.Context, _ dbus.Caller, c dbus.EntryChange) (uint64, error) {
	return s.start(string(c.Deed)+"-persistence", nil)
}

func (s *scripted) Orphans(context.Context, string) ([]dbus.Orphan, error) { return nil, s.err }

func (s *scripted) ListLosses(_ context.Context, _ dbus.Caller, _ dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	return s.compare("list-losses", out)
}

func (s *scripted) CompareRoots(_ context.Context, _ dbus.Caller, _, _ uint64, _ dbus.ChangeFilter, out *dbus.Stream) (uint64, error) {
	return s.compare("compare-roots", out)
}

func (s *scripted) compare(operation string, out *dbus.Stream) (uint64, error) {
	if s.changes == nil {
		if err := out.Close(); err != nil {
			return 0, err
		}
		return s.start(operation, nil)
	}
	s.run = func(s *scripted) {
		result, info := dbus.ResultDone, dbus.ErrorInfo{}
		if err := out.Send(context.Background(), s.changes); err != nil {
			result, info = dbus.ResultFailed, dbus.ErrorInfo{Name: "org.impermanence1.Error.Internal", Message: err.Error()}
		}
		s.end(result, info, nil)
	}
	return s.start(operation, nil)
}

func (s *scripted) CancelJob(context.Context, uint64) error {
	close(s.canceled) // the server itself refuses to cancel what can't be
	return nil
}

func (s *scripted) WaitJob(ctx context.Context, _ uint64) (dbus.Job, error) {
	select {
	case <-s.ended:
	case <-ctx.Done():
		return dbus.Job{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.job, nil
}

func (s *scripted) SetPinned(context.Context, uint64, bool) error  { return s.err }
func (s *scripted) SetLabel(context.Context, uint64, string) error { return s.err }
func (s *scripted) SetNextBoot(context.Context, string) error      { return s.err }
func (s *scripted) Reload(context.Context) error                   { return s.err }
func (s *scripted) Rescan(context.Context) error                   { return s.err }
