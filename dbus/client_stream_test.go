package dbus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// numbering serves a method whose job sends what produce writes, and ends as that does.
func numbering(t testing.TB, produce func(ctx context.Context, l *dbus.Lines) error) *served {
	t.Helper()
	b := newBackend()
	b.numbers = func(_ context.Context, c dbus.Caller, s *dbus.Stream) (uint64, error) {
		if err := b.called("Numbers %d", c.UID); err != nil {
			return 0, err
		}
		id := b.start(c, "numbers")
		go func() {
			err := s.Send(t.Context(), func(l *dbus.Lines) error { return produce(t.Context(), l) })
			result := dbus.ResultDone
			if err != nil {
				result = dbus.ResultFailed
			}
			b.end(id, result, err)
		}()
		return id, nil
	}
	return serve(t, bustest.Start(t), b, rootOnly{})
}

// numbers reads the results, and the error that ended them.
func (s *served) numbers(t testing.TB) (sum int, err error) {
	t.Helper()
	results, err := s.client(t).Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	for n, err := range results.All(t.Context()) {
		if err != nil {
			return sum, err
		}
		sum += n
	}
	return sum, nil
}

func TestResults(t *testing.T) {
	s := numbering(t, func(_ context.Context, l *dbus.Lines) error {
		for i := range 100_000 {
			if err := l.Encode(i); err != nil {
				return err
			}
		}
		return nil
	})
	if sum, err := s.numbers(t); err != nil || sum != 99_999*50_000 {
		t.Errorf("sum %d, %v", sum, err)
	}
	s.until(t, func() bool { return s.Streams() == 0 })
}

// Who passes the results on gets each line as it was sent, also one that no buffer has room for.
func TestResultLines(t *testing.T) {
	sent := []string{"1", `"` + strings.Repeat("x", 200_000) + `"`, `{"more":"than asked for"}`}
	s := numbering(t, func(_ context.Context, l *dbus.Lines) error {
		for _, line := range sent {
			if err := l.Encode(json.RawMessage(line)); err != nil {
				return err
			}
		}
		return nil
	})
	results, err := s.client(t).Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	var got []string
	for line, err := range results.Lines(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
	}
	if want := strings.Join(sent, "\n") + "\n"; strings.Join(got, "") != want || len(got) != len(sent) {
		t.Errorf("read %d lines, %.100q, want %.100q", len(got), strings.Join(got, ""), want)
	}
}

// Who does not take results for a while, as somebody who reads page by page, has all of them: the job does not wait.
func TestResultsThatAreTakenLate(t *testing.T) {
	const all = 300_000 // more than sockets hold
	sent := make(chan error, 1)
	s := numbering(t, func(_ context.Context, l *dbus.Lines) (err error) {
		for i := 0; i < all && err == nil; i++ {
			err = l.Encode(1)
		}
		sent <- err
		return err
	})
	results, err := s.client(t).Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	sum := 0
	for n, err := range results.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != all {
		t.Errorf("%d of %d results", sum, all)
	}
}

// Results are pending while more of them are here, and not while the job has no more yet.
func TestPendingResults(t *testing.T) {
	const atOnce = 1000
	read := make(chan struct{})
	s := numbering(t, func(_ context.Context, l *dbus.Lines) error {
		for range atOnce {
			if err := l.Encode(1); err != nil {
				return err
			}
		}
		<-read
		return l.Encode(1)
	})
	results, err := s.client(t).Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	count, pending := 0, 0
	for _, err := range results.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		if results.Pending() {
			pending++
		} else if count == atOnce {
			close(read)
		}
	}
	if count != atOnce+1 || pending == 0 {
		t.Errorf("%d results, more were pending %d times", count, pending)
	}
}

// What ended the job early ends the results with its own name.
func TestResultsOfAJobThatFails(t *testing.T) {
	s := numbering(t, func(_ context.Context, l *dbus.Lines) error {
		return errors.Join(l.Encode(1), l.Encode(2), fmt.Errorf("read the tree: %w", dbus.ErrNotBtrfs))
	})
	sum, err := s.numbers(t)
	if !errors.Is(err, dbus.ErrNotBtrfs) || !strings.Contains(err.Error(), "not complete") || sum != 3 {
		t.Errorf("sum %d, %v", sum, err)
	}
}

// A line that is not what the client takes ends the results, with the job still to be asked.
func TestResultsOfAnotherType(t *testing.T) {
	for _, line := range []any{"x", map[string]any{"end": true, "lines": 7}, json.RawMessage(`{"end":true,"lines":"many"}`), 1.5} {
		s := numbering(t, func(_ context.Context, l *dbus.Lines) error { return l.Encode(line) })
		if _, err := s.numbers(t); !errors.Is(err, dbus.ErrInternal) {
			t.Errorf("%v: %v", line, err)
		}
	}
}

// Who stops in the middle, by leaving or by a context, ends the job too.
func TestResultsThatAreLeft(t *testing.T) {
	s := numbering(t, func(ctx context.Context, l *dbus.Lines) error {
		for ctx.Err() == nil {
			if err := l.Encode(1); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	c := s.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	results, err := c.Numbers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, err = range results.All(ctx) {
		if read++; read == 1000 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	job, err := c.Wait(t.Context(), results.Job(), nil)
	if err != nil || !errors.Is(job.Error.Err(), dbus.ErrCanceled) {
		t.Errorf("the job ended as %+v, %v", job, err)
	}
	s.until(t, func() bool { return s.Streams() == 0 })
}

// A backend that refuses leaves no stream behind.
func TestResultsThatAreRefused(t *testing.T) {
	s := numbering(t, nil)
	s.backend.fail = dbus.ErrBusy
	if _, err := s.client(t).Numbers(t.Context()); !errors.Is(err, dbus.ErrBusy) {
		t.Errorf("error %v", err)
	}
	out, ok := s.busctl(t, bustest.Nobody, "call", dbus.BusName, manager, managerName, "Numbers", "t", "0")
	if ok || !strings.Contains(out, "Access denied") {
		t.Errorf("nobody got results: %s", out)
	}
	if n := s.Streams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

// What org.impermanence1(5) shows works in Python, for another user than root too.
func TestPythonReadsResults(t *testing.T) {
	b := newBackend()
	b.numbers = func(_ context.Context, c dbus.Caller, s *dbus.Stream) (uint64, error) {
		go func() {
			err := s.Send(t.Context(), func(l *dbus.Lines) error { return errors.Join(l.Encode("one"), l.Encode(2)) })
			if err != nil {
				t.Error(err)
			}
		}()
		return b.start(c, "numbers"), nil
	}
	s := serve(t, bustest.Start(t), b, authorizer(func(context.Context, dbus.Caller, string) error { return nil }))
	for _, uid := range []uint32{0, bustest.Nobody} {
		want := "one\n2\n{'end': True, 'lines': 2}"
		if got := s.run(t, uid, python(t, "stream.py", "Numbers")...); got != want {
			t.Errorf("user %d read %q", uid, got)
		}
	}
}
