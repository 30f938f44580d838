package dbus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

const (
	manager   = "/org/impermanence1"
	rootName  = "org.impermanence1.Root"
	entryName = "org.impermanence1.Entry"
	jobName   = "org.impermanence1.Job"
)

func TestClientReadsWhatTheBackendSays(t *testing.T) {
	s := newServed(t)
	c, b := s.client(t), s.backend
	m, err := c.Manager(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.Manager(), m, equalEmpty()); diff != "" {
		t.Error("manager", diff)
	}
	roots, err := c.Roots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.roots, roots, equalEmpty()); diff != "" {
		t.Error("roots", diff)
	}
	entries, err := c.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.entries, entries, equalEmpty()); diff != "" {
		t.Error("entries", diff)
	}
}

// equalEmpty makes a list of nothing equal to no list.
func equalEmpty() cmp.Option {
	return cmp.Transformer("nil", func(s []string) string { return strings.Join(s, "\n") })
}

func TestListRootsFilters(t *testing.T) {
	s := newServed(t)
	s.backend.update(dbus.RootsChanged, func() {
		s.backend.roots[1].Kind, s.backend.roots[1].Pinned = "snapshot", true
		s.backend.roots[2].Kind = "discarded"
	})
	yes := true
	for name, test := range map[string]struct {
		filter dbus.RootFilter
		want   []uint64
	}{
		"all":       {dbus.RootFilter{}, []uint64{257, 258, 259}},
		"snapshots": {dbus.RootFilter{Kind: "snapshot"}, []uint64{258}},
		"old":       {dbus.RootFilter{Kind: "old"}, []uint64{257}},
		"pinned":    {dbus.RootFilter{Pinned: &yes}, []uint64{258}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := s.client(t).ListRoots(t.Context(), test.filter)
			if err != nil {
				t.Fatal(err)
			}
			var ids []uint64
			for _, r := range rows {
				ids = append(ids, r.ID)
				want := map[uint64]dbus.RootFlags{258: dbus.RootSnapshot | dbus.RootPinned, 259: dbus.RootDiscarded | dbus.RootProtected}[r.ID]
				if r.Flags != want {
					t.Errorf("flags of %d: %d, want %d", r.ID, r.Flags, want)
				}
			}
			if !slices.Equal(ids, test.want) {
				t.Errorf("roots %v, want %v", ids, test.want)
			}
		})
	}
}

func TestMethodsReachTheBackend(t *testing.T) {
	s := newServed(t)
	c, ctx := s.client(t), t.Context()
	month, two, mode := 30*24*time.Hour, uint32(2), uint32(0o750)
	job := func(_ uint64, err error) error { return err }
	steps := []error{
		job(c.CreateSnapshot(ctx, "before the upgrade")),
		job(c.DeleteRoots(ctx, []uint64{257, 258})),
		job(c.Prune(ctx, dbus.PruneOptions{KeepWithin: &month, KeepLast: &two, KeepLabels: []string{"works"}, MinFree: &dbus.MinFree{Percent: 12.5, Bytes: 7}, Wait: true})),
		c.SetPinned(ctx, 257, true),
		c.SetLabel(ctx, 258, "etiquette ☃"),
		c.SetNextBoot(ctx, "257"),
		job(c.ApplyPersistence(ctx, []string{"/var/log"})),
		job(c.ChangeEntry(ctx, dbus.EntryChange{Deed: dbus.AddEntry, Target: "/srv/a\n", DryRun: true})),
		job(c.ChangeEntry(ctx, dbus.EntryChange{
			Deed: dbus.AddEntry, Target: "/srv", Volume: "/persist", Kind: "directory", Method: "bind", User: "u", Group: "g", Mode: &mode, NextBoot: true,
		})),
		job(c.ChangeEntry(ctx, dbus.EntryChange{Deed: dbus.RemoveEntry, Target: "/var/log", NextBoot: true, DryRun: true})),
		job(c.ChangeEntry(ctx, dbus.EntryChange{Deed: dbus.UnmountEntry, Target: "/var/log"})),
		c.Reload(ctx),
		c.Rescan(ctx),
		c.Cancel(ctx, 1),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`CreateSnapshot 0 "before the upgrade"`, "DeleteRoots 0 [257 258]", "Prune 0 wait=true within=720h0m0s free={12.5 7} labels=[\"works\"] last=2",
		"SetPinned 257 true", `SetLabel 258 "etiquette ☃"`, "SetNextBoot 257", "ApplyPersistence 0 [/var/log]",
		`ChangeEntry 0 add "/srv/a\n" /////- false true`, `ChangeEntry 0 add "/srv" /persist/directory/bind/u/g/0750 true false`,
		`ChangeEntry 0 remove "/var/log" /////- true true`, `ChangeEntry 0 unmount "/var/log" /////- false false`,
		"Reload", "Rescan", "CancelJob 1",
	}
	if diff := cmp.Diff(want, s.backend.log()); diff != "" {
		t.Error(diff)
	}
	plan, err := c.PlanPrune(ctx, dbus.PruneOptions{KeepLast: &two})
	if err != nil {
		t.Fatal(err)
	}
	orphans, err := c.Orphans(ctx, "/persist")
	if want := []dbus.Orphan{{Path: "/persist/old\xff", Kind: "directory", Volume: "/persist"}, {Path: "/persist/x", Kind: "file", Volume: "/persist"}}; err != nil || !slices.Equal(orphans, want) {
		t.Errorf("orphans %q, %v", orphans, err)
	}
	if len(plan) != 2 || !plan[0].Remove || plan[1].Remove || plan[1].Name != "two" || !slices.Equal(plan[1].Reasons, []string{"keepLast", "pinned"}) {
		t.Errorf("plan %+v", plan)
	}
}

func TestErrorsCrossTheBus(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	for _, want := range dbus.Sentinels() {
		t.Run(want.Error(), func(t *testing.T) {
			s.backend.update(0, func() { s.backend.fail = errors.Join(errors.New("the daemon's own words"), want) })
			_, err := c.CreateSnapshot(t.Context(), "")
			if !errors.Is(err, want) {
				t.Errorf("error %v is not %v", err, want)
			}
			if !strings.Contains(err.Error(), "the daemon's own words") {
				t.Errorf("error %q lost its text", err)
			}
		})
	}
}

func TestRefusedBeforeTheBackendIsAsked(t *testing.T) {
	s := newServed(t)
	for name, test := range map[string]struct {
		call []string
		want string
	}{
		"flags":                      {[]string{manager, "org.impermanence1.Manager", "Rescan", "t", "1"}, "flags 0x1"},
		"option":                     {[]string{manager, "org.impermanence1.Manager", "Prune", "a{sv}t", "1", "keepDayly", "u", "1", "0"}, `option "keepDayly"`},
		"wait in a plan":             {[]string{manager, "org.impermanence1.Manager", "PlanPrune", "a{sv}t", "1", "wait", "b", "true", "0"}, `option "wait"`},
		"empty label":                {[]string{manager, "org.impermanence1.Manager", "Prune", "a{sv}t", "1", "keepLabels", "as", "1", "", "0"}, "an empty label"},
		"type of option":             {[]string{manager, "org.impermanence1.Manager", "Prune", "a{sv}t", "1", "keepLast", "t", "1", "0"}, `its type is "u", not "t"`},
		"signature":                  {[]string{manager, "org.impermanence1.Manager", "Rescan", "u", "0"}, `their types are "t", not "u"`},
		"kind":                       {[]string{manager, "org.impermanence1.Manager", "ListRoots", "a{sv}t", "1", "kind", "s", "new", "0"}, `kind "new"`},
		"protected":                  {[]string{manager, "org.impermanence1.Manager", "DeleteRoots", "aoa{sv}t", "1", manager + "/root/259", "0", "0"}, "newest"},
		"no root":                    {[]string{manager, "org.impermanence1.Manager", "DeleteRoots", "aoa{sv}t", "1", manager + "/root/9", "0", "0"}, "no such root"},
		"odd root":                   {[]string{manager, "org.impermanence1.Manager", "DeleteRoots", "aoa{sv}t", "1", manager + "/root/0257", "0", "0"}, "no such root"},
		"nothing":                    {[]string{manager, "org.impermanence1.Manager", "DeleteRoots", "aoa{sv}t", "0", "0", "0"}, "none is named"},
		"label":                      {[]string{manager, "org.impermanence1.Manager", "CreateSnapshot", "sa{sv}t", "a\nb", "0", "0"}, "control character"},
		"long label":                 {[]string{manager, "org.impermanence1.Manager", "CreateSnapshot", "sa{sv}t", strings.Repeat("x", 256), "0", "0"}, "at most 255"},
		"next boot":                  {[]string{manager, "org.impermanence1.Manager", "SetNextBoot", "sa{sv}t", "stale", "0", "0"}, "it is fresh, keep"},
		"next root":                  {[]string{manager, "org.impermanence1.Manager", "SetNextBoot", "sa{sv}t", "9", "0", "0"}, "no such root"},
		"entry":                      {[]string{manager, "org.impermanence1.Manager", "ApplyPersistence", "aoa{sv}t", "1", manager + "/entry/_2fx", "0", "0"}, "no such entry"},
		"add, relative":              {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "1", "120", "0", "0"}, "not absolute"},
		"add, a zero byte":           {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "4", "47", "0", "97", "0", "0", "0"}, "not absolute"},
		"add, long":                  {append(append([]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "5000"}, slices.Repeat([]string{"47"}, 5000)...), "0", "0"), "at most 4096"},
		"add, when":                  {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "2", "47", "97", "1", "when", "s", "later", "0"}, "it is now or next-boot"},
		"add, mode":                  {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "2", "47", "97", "1", "mode", "u", "4096", "0"}, "more than permission bits"},
		"add, flags":                 {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "2", "47", "97", "0", "4"}, "flags 0x4"},
		"add again":                  {[]string{manager, "org.impermanence1.Manager", "AddPersistence", "aya{sv}t", "8", "47", "118", "97", "114", "47", "108", "111", "103", "0", "0"}, "an entry already"},
		"remove":                     {[]string{manager, "org.impermanence1.Manager", "RemovePersistence", "aya{sv}t", "2", "47", "97", "0", "0"}, "no such entry"},
		"remove, volume":             {[]string{manager + "/entry/_2fvar_2flog", "org.impermanence1.Entry", "Remove", "a{sv}t", "1", "volume", "s", "/x", "0"}, `option "volume"`},
		"unmount":                    {[]string{manager + "/entry/_2fvar_2flog", "org.impermanence1.Entry", "Unmount", "a{sv}t", "1", "lazy", "b", "true", "0"}, `option "lazy"`},
		"mount":                      {[]string{manager + "/entry/_2fvar_2flog", "org.impermanence1.Entry", "Mount", "a{sv}t", "0", "1"}, "flags 0x1"},
		"losses of a relative path":  {[]string{manager, "org.impermanence1.Manager", "ListLosses", "a{sv}t", "1", "paths", "aay", "1", "1", "120", "0"}, "not absolute"},
		"losses of a path with dots": {[]string{manager, "org.impermanence1.Manager", "ListLosses", "a{sv}t", "1", "paths", "aay", "1", "3", "47", "46", "46", "0"}, "shortest form"},
		"losses of too many paths":   {append(append([]string{manager, "org.impermanence1.Manager", "ListLosses", "a{sv}t", "1", "paths", "aay", "1001"}, slices.Repeat([]string{"1", "47"}, 1001)...), "0"), "at most 1000"},
		"comparison, too many paths": {append(append([]string{manager, "org.impermanence1.Manager", "CompareRoots", "ooa{sv}t", "/", "/", "1", "paths", "aay", "1001"}, slices.Repeat([]string{"1", "47"}, 1001)...), "0"), "at most 1000"},
		"restore, too many paths":    {append(append([]string{manager, "org.impermanence1.Manager", "Restore", "oaaya{sv}t", manager + "/root/257", "1001"}, slices.Repeat([]string{"1", "47"}, 1001)...), "0", "0"), "name 1 to 1000"},
		"losses with another option": {[]string{manager, "org.impermanence1.Manager", "ListLosses", "a{sv}t", "1", "all", "b", "true", "0"}, `option "all"`},
		"comparison with ignored":    {[]string{manager, "org.impermanence1.Manager", "CompareRoots", "ooa{sv}t", "/", "/", "1", "ignored", "b", "true", "0"}, `option "ignored"`},
		"comparison with an unknown": {[]string{manager, "org.impermanence1.Manager", "CompareRoots", "ooa{sv}t", "/", manager + "/root/9", "0", "0"}, "no such root"},
		"comparison with something":  {[]string{manager, "org.impermanence1.Manager", "CompareRoots", "ooa{sv}t", manager + "/job/1", "/", "0", "0"}, "no such root"},
		"orphans":                    {[]string{manager, "org.impermanence1.Manager", "ListOrphans", "a{sv}t", "1", "volumes", "s", "/x", "0"}, `option "volumes"`},
		"method":                     {[]string{manager, "org.impermanence1.Manager", "Explode"}, "unknown method"},
		"interface":                  {[]string{manager, "org.impermanence1.Root", "Delete", "a{sv}t", "0", "0"}, "unknown interface"},
		"object":                     {[]string{manager + "/root/9", "org.impermanence1.Root", "Delete", "a{sv}t", "0", "0"}, "unknown object"},
		"branch":                     {[]string{manager + "/root", "org.impermanence1.Root", "Delete", "a{sv}t", "0", "0"}, "unknown interface"},
		"read-only":                  {[]string{manager, "org.freedesktop.DBus.Properties", "Set", "ssv", "org.impermanence1.Manager", "NextBoot", "s", "keep"}, "read-only"},
		"unknown property":           {[]string{manager, "org.freedesktop.DBus.Properties", "Get", "ss", "org.impermanence1.Manager", "Next"}, "unknown property"},
		"job":                        {[]string{manager + "/job/7", "org.impermanence1.Job", "Wait", "t", "0"}, "unknown object"},
	} {
		t.Run(name, func(t *testing.T) {
			out, ok := s.busctl(t, 0, append([]string{"call", dbus.BusName}, test.call...)...)
			if ok || !strings.Contains(out, test.want) {
				t.Errorf("got %q, want %q", out, test.want)
			}
		})
	}
	if calls := s.backend.log(); len(calls) > 0 {
		t.Errorf("the backend was asked: %q", calls)
	}
}

// What the bus can't carry is the caller's mistake; the daemon is there.
func TestTextThatCannotBeSent(t *testing.T) {
	c := newServed(t).client(t)
	if err := c.SetLabel(t.Context(), 257, "\xff"); !errors.Is(err, dbus.ErrInvalidArgs) || errors.Is(err, dbus.ErrUnreachable) {
		t.Errorf("error %v", err)
	}
	if err := c.SetLabel(t.Context(), 257, "x"); err != nil {
		t.Error(err)
	}
}

func TestPanicIsAnErrorReply(t *testing.T) {
	s := newServed(t)
	s.backend.update(0, func() { s.backend.panics = true })
	if err := s.client(t).Reload(t.Context()); !errors.Is(err, dbus.ErrInternal) {
		t.Errorf("error %v", err)
	}
	if _, err := s.client(t).Manager(t.Context()); err != nil {
		t.Errorf("the server is gone: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	address := bustest.Start(t)
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Manager(t.Context()); !errors.Is(err, dbus.ErrUnreachable) {
		t.Errorf("no daemon: %v", err)
	}
	for _, bad := range []string{"unix:path=/nonexistent/socket", "tcp:host=localhost,port=1", "nonsense", "unix:path=%zz"} {
		if _, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: bad}); !errors.Is(err, dbus.ErrUnreachable) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: "unix:path=/nonexistent/socket;" + address}); err != nil {
		t.Errorf("second address of a list: %v", err)
	}
}

// A server whose bus is gone ends, and says so: its service manager starts it again.
func TestALostBusEndsTheServer(t *testing.T) {
	address, cut := relay(t, bustest.Start(t))
	s := dbus.NewServer(dbus.ServerConfig{Address: address, Backend: newBackend(), Authorizer: rootOnly{}})
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	<-s.Ready()
	cut()
	if err := <-ended; !errors.Is(err, dbus.ErrUnreachable) || !strings.Contains(err.Error(), "closed the connection") {
		t.Errorf("ended with %v", err)
	}
}

// relay is a way to a bus, for one who comes, that can be cut.
func relay(t testing.TB, address string) (way string, cut func()) {
	t.Helper()
	path, _, _ := strings.Cut(strings.TrimPrefix(address, "unix:path="), ",")
	bus, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(bustest.PublicDir(t), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	cut = func() {
		_ = bus.Close() // the second time it is closed already
		_ = listener.Close()
	}
	t.Cleanup(cut)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		go func() { _, _ = io.Copy(bus, conn) }() // each ends with the connection
		_, _ = io.Copy(conn, bus)
	}()
	return "unix:path=" + listener.Addr().String(), cut
}

func TestEnvironmentNamesTheBus(t *testing.T) {
	s := newServed(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.address)
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Manager(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNameIsOwnedOnce(t *testing.T) {
	s := newServed(t)
	second := dbus.NewServer(dbus.ServerConfig{Address: s.address, Backend: newBackend(), Authorizer: rootOnly{}})
	if err := second.Run(t.Context()); !errors.Is(err, dbus.ErrBusy) {
		t.Errorf("second server: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("first server: %v", err)
	}
}

func TestStopAnswersWhatIsInFlight(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	job, err := c.CreateSnapshot(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	waiting := exec.Command("busctl", "--address="+s.address, "call", dbus.BusName, manager+"/job/1", "org.impermanence1.Job", "Wait", "t", "0")
	var out strings.Builder
	waiting.Stderr = &out
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waited := make(chan error, 1)
	seen := make(chan struct{}, 16)
	go func() {
		_, err := c.Wait(ctx, job, func(dbus.Job) { seen <- struct{}{} })
		waited <- err
	}()
	<-seen
	for s.Parked() == 0 {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if err := waiting.Wait(); err == nil || !strings.Contains(out.String(), "the daemon is stopping") {
		t.Errorf("busctl: %v: %s", err, out.String())
	}
	if err := <-waited; !errors.Is(err, dbus.ErrUnreachable) {
		t.Errorf("client: %v", err)
	}
}
