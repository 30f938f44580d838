package dbus

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oneJob is a backend with a job that ends when it is told to.
type oneJob struct {
	fixed
	ended atomic.Bool
}

func (b *oneJob) Jobs() []Job {
	if b.ended.Load() {
		return []Job{{ID: 1, State: JobDone, Result: ResultDone}}
	}
	return []Job{{ID: 1, State: JobRunning}}
}

// Who waits for a job does not wait for the rest between two looks as well; the time of the test is synthetic.
func TestTheEndOfAJobIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &oneJob{}
		told := make(chan struct{}, 16)
		p := newPublisher(b, newFaces(), silence{}, func(...message) error {
			told <- struct{}{}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go p.run(ctx)
		time.Sleep(time.Second) //nolint:forbidigo // synthetic time
		p.changed(JobsChanged)
		synctest.Wait() // it has looked, and rests
		for len(told) > 0 {
			<-told
		}
		b.ended.Store(true)
		now := time.Now()
		p.changed(JobEnded)
		<-told
		if waited := time.Since(now); waited > 0 {
			t.Errorf("told after %s", waited)
		}
		if o, found := p.tree().jobs.lookup(JobPath(1)); !found || o.value.(*Job).State != JobDone {
			t.Errorf("told, and on the bus is %+v", o)
		}
	})
}

// An answer that is written after a change was told has the change.
func TestNoAnswerIsOlderThanWhatWasTold(t *testing.T) {
	for name, plan := range map[string]func(*Server, *call) (deed, error){
		"Get": planGet, "GetAll": planGetAll, "GetManagedObjects": planGetManagedObjects,
	} {
		b := &oneJob{}
		s := NewServer(ServerConfig{Backend: b})
		s.transport = newTransport(&stream{}, nil)
		s.publisher.flush(t.Context(), EverythingChanged)
		n, err := s.node(JobPath(1))
		if err != nil {
			t.Fatal(err)
		}
		d, err := plan(s, &call{node: n, args: []any{jobInterface, "State"}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := d.do(t.Context(), Caller{})
		if err != nil {
			t.Fatal(err)
		}
		b.ended.Store(true)
		s.Changed(JobEnded)
		s.publisher.flush(t.Context(), EverythingChanged)
		var e encoder
		answer.put(&e)
		if bytes.Contains(e.b, []byte(JobRunning)) || !bytes.Contains(e.b, []byte(JobDone)) {
			t.Errorf("%s: the job has ended, and is %q", name, e.b)
		}
	}
}

// unlisted is a backend that can't list its roots until it can.
type unlisted struct {
	fixed
	can bool
}

func (b *unlisted) Roots(ctx context.Context, f RootFilter) ([]Root, error) {
	if !b.can {
		return nil, ErrNotBtrfs
	}
	return b.fixed.Roots(ctx, f)
}

// Who has asked for all objects before roots could be listed hears of them when they can.
func TestRootsThatCouldNotBeListedAreNews(t *testing.T) {
	b := &unlisted{}
	var told []message
	p := newPublisher(b, newFaces(), silence{}, func(m ...message) error {
		told = append(told, m...)
		return nil
	})
	p.flush(t.Context(), EverythingChanged)
	if len(told) > 0 || len(p.tree().roots.list) > 0 {
		t.Fatalf("told of %d things, there are %d roots", len(told), len(p.tree().roots.list))
	}
	b.can = true
	p.flush(t.Context(), EverythingChanged)
	if len(told) != 1 || told[0].member != "InterfacesAdded" {
		t.Errorf("told of %d things: %+v", len(told), told)
	}
}
