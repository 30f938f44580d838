package dbus_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// servedWithPolkit serves on a bus with polkit, which follows rules.
func servedWithPolkit(t testing.TB, rules ...string) *served {
	t.Helper()
	address := bustest.StartWithPolkit(t, rules...)
	return serve(t, address, newBackend(), polkit(t, address))
}

func polkit(t testing.TB, address string) *dbus.Polkit {
	t.Helper()
	ctx, hangUp := context.WithCancel(context.Background())
	t.Cleanup(hangUp)
	return dbus.NewPolkit(ctx, address)
}

// changing are calls of everything that needs an action, by their actions.
func changing() map[string][][]string {
	const m = "org.impermanence1.Manager"
	const e = "org.impermanence1.Entry"
	root, job, entry := manager+"/root/257", manager+"/job/1", manager+"/entry/_2fvar_2flog"
	return map[string][][]string{
		"create-snapshot":       {{manager, m, "CreateSnapshot", "sa{sv}t", "x", "0", "0"}},
		"manage-roots":          {{manager, m, "DeleteRoots", "aoa{sv}t", "1", root, "0", "0"}, {root, "org.impermanence1.Root", "Delete", "a{sv}t", "0", "0"}, {root, "org.impermanence1.Root", "SetPinned", "ba{sv}t", "true", "0", "0"}, {root, "org.impermanence1.Root", "SetLabel", "sa{sv}t", "x", "0", "0"}},
		"prune":                 {{manager, m, "Prune", "a{sv}t", "0", "0"}},
		"set-next-boot":         {{manager, m, "SetNextBoot", "sa{sv}t", "keep", "0", "0"}},
		"mount-persistence":     {{manager, m, "ApplyPersistence", "aoa{sv}t", "0", "0", "0"}, {entry, e, "Mount", "a{sv}t", "0", "0"}, {entry, e, "Unmount", "a{sv}t", "0", "0"}},
		"modify-persistence":    {{manager, m, "AddPersistence", "aya{sv}t", "2", "47", "120", "0", "0"}, {manager, m, "RemovePersistence", "aya{sv}t", "8", "47", "118", "97", "114", "47", "108", "111", "103", "0", "0"}, {entry, e, "Remove", "a{sv}t", "0", "0"}},
		"read-losses":           {{manager, m, "ListOrphans", "a{sv}t", "0", "0"}, {manager, m, "ListLosses", "a{sv}t", "0", "0"}, {manager, m, "CompareRoots", "ooa{sv}t", "/", root, "0", "0"}, {manager, m, "ListVersions", "aya{sv}t", "2", "47", "97", "0", "0"}},
		"restore":               {{manager, m, "Restore", "oaaya{sv}t", root, "1", "2", "47", "97", "0", "0"}},
		"browse-roots":          {{root, "org.impermanence1.Root", "Browse", "a{sv}t", "0", "0"}, {root, "org.impermanence1.Root", "EndBrowse", "a{sv}t", "0", "0"}},
		"reload":                {{manager, m, "Reload", "t", "0"}, {manager, m, "Rescan", "t", "0"}},
		"cancel-job-other-user": {{job, "org.impermanence1.Job", "Cancel", "a{sv}t", "0", "0"}},
	}
}

func TestNobodyMayReadButNotChange(t *testing.T) {
	s := servedWithPolkit(t)
	s.backend.start(dbus.Caller{UID: 0}, "prune")
	for _, read := range [][]string{
		{"introspect", dbus.BusName, manager},
		{"tree", dbus.BusName},
		{"call", dbus.BusName, manager, "org.impermanence1.Manager", "ListRoots", "a{sv}t", "0", "0"},
		{"call", dbus.BusName, manager, "org.impermanence1.Manager", "PlanPrune", "a{sv}t", "0", "0"},
		{"get-property", dbus.BusName, manager, "org.impermanence1.Manager", "NextBoot"},
		{"call", dbus.BusName, manager + "/job/1", "org.impermanence1.Job", "Wait", "t", "1"},
	} {
		if out, ok := s.busctl(t, bustest.Nobody, read...); !ok {
			t.Errorf("%v: %s", read, out)
		}
	}
	for action, calls := range changing() {
		for _, call := range calls {
			out, ok := s.busctl(t, bustest.Nobody, append([]string{"call", dbus.BusName}, call...)...)
			if ok || !strings.Contains(out, "nteractive auth") {
				t.Errorf("%s: %v: %s", action, call, out)
			}
		}
	}
	if calls := s.backend.log(); !slices.Equal(calls, []string{"PlanPrune wait=false"}) {
		t.Errorf("the backend was asked: %q", calls)
	}
}

func TestRulesDecide(t *testing.T) {
	s := servedWithPolkit(t, `polkit.addRule(function(action, subject) {
		if (action.id == "org.impermanence1.create-snapshot" && action.lookup("label") == "allowed") return polkit.Result.YES;
		if (action.id.indexOf("org.impermanence1.cancel-job") == 0) {
			return action.id == "org.impermanence1.cancel-job" && action.lookup("operation") == "create-snapshot" ? polkit.Result.YES : polkit.Result.NO;
		}
		if (action.id.indexOf("org.impermanence1.") == 0) return polkit.Result.NO;
	});`)
	call := func(args ...string) (string, bool) {
		return s.busctl(t, bustest.Nobody, append([]string{"call", dbus.BusName}, args...)...)
	}
	if out, ok := call(changing()["create-snapshot"][0]...); ok || !strings.Contains(out, "Access denied") {
		t.Errorf("refused label: %s", out)
	}
	out, ok := call(manager, "org.impermanence1.Manager", "CreateSnapshot", "sa{sv}t", "allowed", "0", "0")
	if !ok || out != `o "/org/impermanence1/job/1"` {
		t.Errorf("allowed label: %s", out)
	}
	if got := s.get(t, "/job/1", "org.impermanence1.Job", "StartedByUID"); got != "65534" {
		t.Errorf("started by %s", got)
	}
	if out, ok := call(manager+"/job/1", "org.impermanence1.Job", "Cancel", "a{sv}t", "0", "0"); !ok {
		t.Errorf("one's own job: %s", out)
	}
	s.backend.start(dbus.Caller{UID: 0}, "create-snapshot")
	if out, ok := call(manager+"/job/2", "org.impermanence1.Job", "Cancel", "a{sv}t", "0", "0"); ok || !strings.Contains(out, "Access denied") {
		t.Errorf("root's job: %s", out)
	}
	for action, calls := range changing() {
		if action == "cancel-job-other-user" {
			continue // it has ended
		}
		for _, args := range calls {
			if out, ok := call(args...); ok || !strings.Contains(out, "Access denied") {
				t.Errorf("%s: %v: %s", action, args, out)
			}
		}
	}
}

// A name on the disk need not be text, which polkit is told.
func TestNamesThatAreNotTextAreTold(t *testing.T) {
	s := servedWithPolkit(t, `polkit.addRule(function(action, subject) {
		return action.lookup("roots") == "a\ufffd" ? polkit.Result.YES : polkit.Result.NO;
	});`)
	s.backend.update(dbus.RootsChanged, func() { s.backend.roots[0].Name = "a\xff" })
	pin := []string{"call", dbus.BusName, manager + "/root/257", "org.impermanence1.Root", "SetPinned", "ba{sv}t", "true", "0", "0"}
	if out, ok := s.busctl(t, bustest.Nobody, pin...); !ok {
		t.Error(out)
	}
}

func TestRootNeedsNoPolkit(t *testing.T) {
	address := bustest.Start(t) // where nobody answers for polkit
	s := serve(t, address, newBackend(), polkit(t, address))
	if _, err := s.client(t).CreateSnapshot(t.Context(), ""); err != nil {
		t.Error(err)
	}
	out, ok := s.busctl(t, bustest.Nobody, append([]string{"call", dbus.BusName}, changing()["prune"][0]...)...)
	if ok || !strings.Contains(out, "Access denied") {
		t.Errorf("without polkit: %s", out)
	}
}

func TestUnknownActionIsRefused(t *testing.T) {
	address := bustest.StartWithPolkit(t)
	conn, err := dbus.DialAddress(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	caller := dbus.Caller{Sender: conn.Names()[0], UID: bustest.Nobody}
	err = polkit(t, address).Authorize(t.Context(), caller, "org.impermanence1.no-such-action", nil, true)
	if !errors.Is(err, dbus.ErrAccessDenied) {
		t.Errorf("error %v", err)
	}
}

// A connection that was lost is made again; a bus that is not there refuses everybody but root.
func TestPolkitIsReachedAgain(t *testing.T) {
	address := bustest.StartWithPolkit(t, `polkit.addRule(function(action, subject) { return polkit.Result.YES; });`)
	p := polkit(t, address)
	caller := dbus.Caller{Sender: bustest.DialAs(t, address, bustest.Nobody).Names()[0], UID: bustest.Nobody}
	for range 2 {
		if err := p.Authorize(t.Context(), caller, "org.impermanence1.prune", nil, false); err != nil {
			t.Error(err)
		}
		if err := p.HangUp(); err != nil {
			t.Error(err)
		}
	}
	nowhere := polkit(t, "unix:path=/nowhere")
	if err := nowhere.Authorize(t.Context(), caller, "org.impermanence1.prune", nil, false); !errors.Is(err, dbus.ErrAccessDenied) {
		t.Errorf("without a bus: %v", err)
	}
	if err := nowhere.Authorize(t.Context(), dbus.Caller{UID: 0}, "org.impermanence1.prune", nil, false); err != nil {
		t.Errorf("root, without a bus: %v", err)
	}
}

func TestInvalidCallsAreRefusedBeforeThePrompt(t *testing.T) {
	asked := make(chan string, 100)
	s := serve(t, bustest.Start(t), newBackend(), authorizer(func(_ context.Context, c dbus.Caller, action string) error {
		asked <- action
		return nil
	}))
	c := s.client(t)
	_, err := c.DeleteRoots(t.Context(), []uint64{257, 259})
	if !errors.Is(err, dbus.ErrProtected) || !strings.Contains(err.Error(), "newest") {
		t.Errorf("protected root: %v", err)
	}
	if _, err := c.DeleteRoots(t.Context(), []uint64{1}); !errors.Is(err, dbus.ErrNoSuchRoot) {
		t.Errorf("unknown root: %v", err)
	}
	if err := c.SetLabel(t.Context(), 257, "a\x01"); !errors.Is(err, dbus.ErrInvalidName) {
		t.Errorf("label: %v", err)
	}
	if len(asked) > 0 {
		t.Errorf("asked for %s", <-asked)
	}
}

func TestValidatedAgainAfterThePrompt(t *testing.T) {
	b := newBackend()
	s := serve(t, bustest.Start(t), b, authorizer(func(context.Context, dbus.Caller, string) error {
		b.update(dbus.RootsChanged, func() { b.roots[0].ProtectReasons = []string{"pinned"} }) // while somebody types
		return nil
	}))
	_, err := s.client(t).DeleteRoots(t.Context(), []uint64{257})
	if !errors.Is(err, dbus.ErrProtected) {
		t.Errorf("error %v", err)
	}
	if calls := b.log(); len(calls) > 0 {
		t.Errorf("the backend was asked: %q", calls)
	}
}

func TestPromptEndsWithItsCaller(t *testing.T) {
	asked, gone := make(chan struct{}), make(chan error, 1)
	s := serve(t, bustest.Start(t), newBackend(), authorizer(func(ctx context.Context, _ dbus.Caller, _ string) error {
		close(asked)
		<-ctx.Done()
		gone <- context.Cause(ctx)
		return nil // even so
	}))
	cmd := bustest.As(exec.Command("busctl", append([]string{"--address=" + s.address, "call", dbus.BusName}, changing()["prune"][0]...)...), bustest.Nobody)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; !errors.Is(err, dbus.ErrCanceled) {
		t.Errorf("cause %v", err)
	}
	_ = cmd.Wait() // it was killed
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

// authorizer is a function that decides.
type authorizer func(ctx context.Context, c dbus.Caller, action string) error

func (f authorizer) Authorize(ctx context.Context, c dbus.Caller, action string, _ map[string]string, _ bool) error {
	return f(ctx, c, action)
}
