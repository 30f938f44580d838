package dbus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// listener hears what the daemon says to everybody.
type listener struct {
	t       testing.TB
	conn    *dbus.Conn
	signals chan *godbus.Signal
}

func (s *served) listen(t testing.TB) *listener {
	t.Helper()
	conn, err := dbus.DialAddress(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &listener{t, conn, make(chan *godbus.Signal, 1000)}
	conn.Signal(l.signals)
	if err := conn.AddMatchSignal(godbus.WithMatchSender(dbus.BusName)); err != nil {
		t.Fatal(err)
	}
	// The objects are there from the first answer on; what comes later is news.
	if err := conn.Object(dbus.BusName, manager).Call("org.freedesktop.DBus.ObjectManager.GetManagedObjects", 0).Err; err != nil {
		t.Fatal(err)
	}
	return l
}

// next is the next signal, on one line: path, member, and its body without types.
func (l *listener) next() string {
	l.t.Helper()
	for s := range l.signals {
		if strings.HasPrefix(s.Name, "org.freedesktop.DBus.Name") {
			continue
		}
		member := s.Name[strings.LastIndex(s.Name, ".")+1:]
		return fmt.Sprintf("%s %s %s", strings.TrimPrefix(string(s.Path), manager), member, flat(s.Body))
	}
	l.t.Fatal("the connection is closed")
	return ""
}

// flat prints values with sorted keys and without the types of variants.
func flat(v any) string {
	switch v := v.(type) {
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = flat(v[i])
		}
		return strings.Join(parts, " ")
	case godbus.Variant:
		return flat(v.Value())
	case map[string]godbus.Variant:
		var parts []string
		for key, value := range v {
			parts = append(parts, key+"="+flat(value))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

func (l *listener) expect(want ...string) {
	l.t.Helper()
	for _, w := range want {
		if got := l.next(); got != w {
			l.t.Fatalf("signal %q, want %q", got, w)
		}
	}
}

func TestChangesAreToldOnceAndTogether(t *testing.T) {
	s := newServed(t)
	l, b := s.listen(t), s.backend
	s.Changed(dbus.EverythingChanged) // nothing did
	b.update(dbus.RootsChanged, func() {
		b.roots[0].Pinned, b.roots[0].Label, b.roots[0].ProtectReasons = true, "old friend", []string{"pinned"}
	})
	l.expect("/root/257 PropertiesChanged org.impermanence1.Root {Label=old friend Pinned=true ProtectReasons=[pinned]} []")
	b.update(dbus.RootsChanged, func() { b.roots[1].Size = 8192 })
	l.expect("/root/258 PropertiesChanged org.impermanence1.Root {} [ExclusiveBytes]")
	b.update(dbus.ManagerChanged, func() { b.manager.NextBoot, b.manager.ConfigurationErrors = "keep", []string{"x:1: y"} })
	l.expect(" PropertiesChanged org.impermanence1.Manager {ConfigurationErrors=[x:1: y] NextBoot=keep} []")
	b.update(dbus.EntriesChanged, func() { b.entries[1].State, b.entries[1].LastError = "in-place", dbus.ErrorInfo{} })
	l.expect("/entry/_2fvar_2flog PropertiesChanged org.impermanence1.Entry {LastError=  State=in-place} []")
}

func TestObjectsComeAndGo(t *testing.T) {
	s := newServed(t)
	l, b := s.listen(t), s.backend
	b.update(dbus.RootsChanged, func() {
		b.roots = append(b.roots, dbus.Root{ID: 300, Name: "new", Kind: "snapshot"})
	})
	if got := l.next(); !strings.HasPrefix(got, " InterfacesAdded "+manager+"/root/300 map[org.impermanence1.Root:") {
		t.Fatalf("signal %q", got)
	}
	b.update(dbus.RootsChanged, func() { b.roots = b.roots[1:] })
	l.expect(" InterfacesRemoved " + manager + "/root/257 [org.impermanence1.Root]")
	if out, ok := s.busctl(t, 0, "get-property", dbus.BusName, manager+"/root/257", "org.impermanence1.Root", "Name"); ok {
		t.Errorf("a root that is gone has a name: %s", out)
	}
}

func TestAReplyComesAfterItsChanges(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	for i := range 50 {
		if err := c.SetPinned(t.Context(), 257, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		out := s.get(t, "/root/257", "org.impermanence1.Root", "Pinned")
		if out != fmt.Sprint(i%2 == 0) {
			t.Fatalf("round %d: pinned is %s", i, out)
		}
	}
}

// get reads a property over a connection of its own kind: godbus's, not our client.
func (s *served) get(t testing.TB, path, iface, name string) string {
	t.Helper()
	conn, err := dbus.DialAddress(t.Context(), s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	v, err := conn.Object(dbus.BusName, dbus.ObjectPath(manager+path)).GetProperty(iface + "." + name)
	if err != nil {
		t.Fatal(err)
	}
	return flat(v)
}

func TestJobIsTold(t *testing.T) {
	s := newServed(t)
	l, b, c := s.listen(t), s.backend, s.client(t)
	id, err := c.CreateSnapshot(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.next(); !strings.HasPrefix(got, " InterfacesAdded "+manager+"/job/1 map[org.impermanence1.Job:") {
		t.Fatalf("signal %q", got)
	}
	l.expect(" PropertiesChanged org.impermanence1.Manager {ActiveJobs=[" + manager + "/job/1]} []")
	b.end(id, dbus.ResultPartial, errors.Join(errors.New("root 258"), dbus.ErrBusy))
	l.expect("/job/1 PropertiesChanged org.impermanence1.Job {Cancelable=false Error=org.impermanence1.Error.Busy root 258\nbusy Result=partial State=done} []",
		" PropertiesChanged org.impermanence1.Manager {ActiveJobs=[]} []",
		" JobRemoved "+manager+"/job/1 create-snapshot partial org.impermanence1.Error.Busy root 258\nbusy")
	job, err := c.Wait(t.Context(), id, nil) // it ended before
	if err != nil || job.Result != dbus.ResultPartial || !errors.Is(job.Error.Err(), dbus.ErrBusy) {
		t.Errorf("job %+v, error %v", job, err)
	}
}

func TestProgressIsPacedAndNeverGoesBack(t *testing.T) {
	s := newServed(t)
	b, c := s.backend, s.client(t)
	id, err := c.CreateSnapshot(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var seen []dbus.Job
	first := make(chan struct{})
	go func() {
		<-first
		for i := range uint64(2000) {
			b.progress(id, i%10) // jumps back all the time
		}
		b.progress(id, 9)
	}()
	job, err := c.Wait(t.Context(), id, func(j dbus.Job) {
		seen = append(seen, j)
		switch {
		case len(seen) == 1:
			close(first)
		case j.ItemsDone == 9 && j.Progress == 0.9 && j.State != dbus.JobDone:
			b.end(id, dbus.ResultDone, nil)
		}
	})
	if err != nil || job.Result != dbus.ResultDone {
		t.Fatalf("job %+v, error %v", job, err)
	}
	most := int(time.Since(began)/(250*time.Millisecond)) + 3 // the first look, the first progress, the end
	if len(seen) > most {
		t.Errorf("%d signals in %s", len(seen), time.Since(began))
	}
	if !slices.IsSortedFunc(seen, func(a, b dbus.Job) int { return int(a.Progress*10) - int(b.Progress*10) }) {
		t.Errorf("progress went back: %+v", seen)
	}
}

// Who waits learns all that can be known of a job at its end, whether that was the first that was heard of it or not.
func TestWaitLearnsAllOfTheEnd(t *testing.T) {
	s := newServed(t)
	b, c := s.backend, s.client(t)
	for steps := range uint64(3) {
		id, err := c.CreateSnapshot(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var job dbus.Job
		job, err = c.Wait(t.Context(), id, func(j dbus.Job) {
			if j.ItemsDone < steps && j.State != dbus.JobDone {
				b.progress(id, j.ItemsDone+1)
				return
			}
			b.update(0, func() {
				b.jobs[id-1].Stage, b.jobs[id-1].Details = "over", dbus.Details{"failed": []string{"a: busy"}}
			})
			if j.State != dbus.JobDone {
				b.end(id, dbus.ResultPartial, errors.Join(errors.New("root 258"), dbus.ErrBusy))
			}
		})
		if err != nil || job.Result != dbus.ResultPartial || job.Details["failed"] == nil {
			t.Errorf("after %d steps the job is %+v, %v", steps, job, err)
		}
		read, err := c.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(read, job); diff != "" {
			t.Errorf("after %d steps (-is +was told):\n%s", steps, diff)
		}
	}
}

// Who was stopped, as by Ctrl-Z, until the daemon had forgotten the job, knows how it ended all the same.
func TestWaitForAJobThatIsForgotten(t *testing.T) {
	s := newServed(t)
	b, c := s.backend, s.client(t)
	id, err := c.CreateSnapshot(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	told := func() { // of all that has changed
		if _, err := c.Jobs(t.Context()); err != nil {
			t.Error(err)
		}
	}
	job, err := c.Wait(t.Context(), id, func(j dbus.Job) {
		switch {
		case j.State == dbus.JobDone:
		case j.ItemsDone == 0:
			b.progress(id, 1)
		default:
			b.end(id, dbus.ResultPartial, dbus.ErrBusy)
			told()
			b.update(dbus.JobsChanged, func() { b.forgets = true })
			told()
		}
	})
	if err != nil || job.Result != dbus.ResultPartial || !errors.Is(job.Error.Err(), dbus.ErrBusy) {
		t.Errorf("the job is %+v, %v", job, err)
	}
}

func TestWaitWithATimeout(t *testing.T) {
	s := newServed(t)
	id, err := s.client(t).Prune(t.Context(), dbus.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wait := []string{"call", dbus.BusName, manager + "/job/1", "org.impermanence1.Job", "Wait", "t"}
	if out := s.mustBusctl(t, append(wait, "1000")...); out != `sss "" "" ""` {
		t.Errorf("after a millisecond: %s", out)
	}
	s.backend.end(id, dbus.ResultDone, nil)
	if out := s.mustBusctl(t, append(wait, "0")...); out != `sss "done" "" ""` {
		t.Errorf("after the end: %s", out)
	}
}
