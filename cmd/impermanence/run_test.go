package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// result is what a command line did.
type result struct {
	Code           int
	Stdout, Stderr string
}

// streams returns two files to print to, and a function that reads what was printed.
func streams(t *testing.T) (stdout, stderr *os.File, read func(code int) result) {
	t.Helper()
	dir := t.TempDir()
	create := func(name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	text := func(f *os.File) string {
		data, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	stdout, stderr = create("stdout"), create("stderr")
	return stdout, stderr, func(code int) result { return result{code, text(stdout), text(stderr)} }
}

// onBus is the environment of a command line that asks the daemon on a bus.
func onBus(address string) getenv {
	return func(name string) string {
		return map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": address}[name]
	}
}

// execute runs a command line against the daemon on a bus.
func execute(t *testing.T, address string, args ...string) result {
	t.Helper()
	stdout, stderr, read := streams(t)
	return read(run(t.Context(), args, stdout, stderr, onBus(address)))
}

// newApp returns a command line that has not run yet, and a function that reads what it printed.
func newApp(t *testing.T, address string, args ...string) (*app, func(code int) result) {
	t.Helper()
	stdout, stderr, read := streams(t)
	a := &app{args: args, env: onBus(address), stdout: newOutput(stdout, onBus(address)), stderr: newOutput(stderr, onBus(address))}
	t.Cleanup(a.close)
	return a, read
}

// want compares what a command line did with what it should have done.
func want(t *testing.T, want, got result) {
	t.Helper()
	want.Stdout, want.Stderr = strings.TrimPrefix(want.Stdout, "\n"), strings.TrimPrefix(want.Stderr, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// twoRoots is a daemon with two roots that retention lets go, and one that it keeps.
func twoRoots() *scripted {
	return &scripted{
		roots: []dbus.Root{{ID: 256, Name: "a"}, {ID: 257, Name: "b"}, {ID: 258, Name: "c"}},
		plan: []dbus.PlanItem{
			{Root: 256, Name: "a", Remove: true, Reasons: []string{"kept by no rule"}},
			{Root: 257, Name: "b", Remove: true, Reasons: []string{"kept by no rule"}},
			{Root: 258, Name: "c", Reasons: []string{"newest"}},
		},
	}
}

// interrupted runs a job that deletes, interrupted while it is waited for, and returns what was printed after that.
func interrupted(t *testing.T, s *scripted, change ...func(*app)) result {
	t.Helper()
	a, read := newApp(t, serve(t, s), "prune")
	for _, c := range change {
		c(a)
	}
	if _, err := a.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := a.client.Prune(t.Context(), dbus.PruneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	err = a.deleted(ctx, id, s.plan[:2])
	a.report(err)
	return read(exitCode(err))
}

func TestInterruptCancelsTheJobAndSaysWhatWasDone(t *testing.T) {
	s := twoRoots()
	s.run = func(s *scripted) {
		s.remove(256)
		<-s.canceled
		s.end(dbus.ResultCanceled, dbus.ErrorInfo{Name: "org.impermanence1.Error.Canceled", Message: "canceled"}, nil)
	}
	want(t, result{exitPartly, "deleted\ta\tkept by no rule\nnot deleted\tb\tkept by no rule\n", `
canceling; interrupt again to leave the job to the daemon
error: prune: partly done: canceled after 1 of 2
try:   impermanence prune
`}, interrupted(t, s))
}

// Without a bus there is no daemon that a job could be left to: the one that there is ends with it.
func TestInterruptWithoutABus(t *testing.T) {
	s := twoRoots()
	s.run = func(s *scripted) {
		<-s.canceled
		s.end(dbus.ResultCanceled, dbus.ErrorInfo{Name: "org.impermanence1.Error.Canceled", Message: "canceled"}, nil)
	}
	want(t, result{exitFailed, "not deleted\ta\tkept by no rule\nnot deleted\tb\tkept by no rule\n", `
canceling; interrupt again not to wait for its end
error: prune: canceled before anything was done
try:   impermanence prune
`}, interrupted(t, s, func(a *app) { a.own = &ownDaemon{cmd: exec.Command("true")} }))
}

func TestInterruptBeforeAnythingWasDone(t *testing.T) {
	s := twoRoots()
	s.run = func(s *scripted) {
		<-s.canceled
		s.end(dbus.ResultCanceled, dbus.ErrorInfo{Name: "org.impermanence1.Error.Canceled", Message: "canceled"}, nil)
	}
	want(t, result{exitFailed, "not deleted\ta\tkept by no rule\nnot deleted\tb\tkept by no rule\n", `
canceling; interrupt again to leave the job to the daemon
error: prune: canceled before anything was done
try:   impermanence prune
`}, interrupted(t, s))
}

func TestInterruptOfWhatCannotBeCanceledWaits(t *testing.T) {
	s := twoRoots()
	s.fixed = true
	s.run = func(s *scripted) {
		s.remove(256)
		s.remove(257)
		s.end(dbus.ResultDone, dbus.ErrorInfo{}, nil)
	}
	want(t, result{exitDone, "deleted\ta\tkept by no rule\ndeleted\tb\tkept by no rule\n", `
canceling; interrupt again to leave the job to the daemon
it can no longer be canceled: waiting for its end
`}, interrupted(t, s))
}

// What came after an interrupt is told as not done.
func TestInterruptBetweenPaths(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var runs atomic.Uint32
	a, read := newApp(t, serve(t, &scripted{fixed: true, run: func(s *scripted) {
		if runs.Add(1) == 2 {
			interrupt()
		}
		s.mu.Lock()
		s.job.State, s.job.Result = dbus.JobDone, dbus.ResultDone
		s.mu.Unlock()
		s.server.Changed(dbus.EverythingChanged)
	}}), "persist")
	err := a.persist(ctx, []string{"/first", "/second", "/third"}, &keepFlags{})
	a.report(err)
	got := read(exitCode(err))
	if told := strings.Contains(got.Stderr, "persist /third: canceled before anything was done") || strings.Contains(got.Stderr, "and 1 more"); !told || got.Code != exitPartly {
		t.Errorf("got %+v", got) // the interrupt may come before the answer about the second, or after it
	}
}

// What was kept is told when the entries beside it are not put in their place, which needs another permission.
func TestKeptAndThenRefused(t *testing.T) {
	s := &scripted{
		entries: []dbus.Entry{{Target: "/known", State: "missing"}}, refused: dbus.ErrAccessDenied,
		run: func(s *scripted) { s.end(dbus.ResultDone, dbus.ErrorInfo{}, nil) },
	}
	want(t, result{exitPartly, "missing\t/known\t\t\t\t\n", `
error: partly done: apply persistence: access denied
try:   sudo impermanence persist /fresh /known
`}, execute(t, serve(t, s), "persist", "/fresh", "/known"))
}

// What was done all the same after an interrupt is done.
func TestInterruptThatComesTooLate(t *testing.T) {
	dir := t.TempDir()
	late := "#!/bin/sh\ntrap 'kill $!; exit 0' INT\ntail -f /dev/null &\necho begun\nwait\n"
	if err := os.WriteFile(filepath.Join(dir, "unshare"), []byte(late), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		_, _ = bufio.NewReader(read).ReadString('\n') // whatever it is, it has begun
		interrupt()
	}()
	a := &app{env: onBus(""), stdout: newOutput(write, onBus("")), stderr: newOutput(os.Stderr, onBus(""))}
	if err := a.apart(ctx, nil); exitCode(err) != exitDone {
		t.Errorf("error %v", err)
	}
}

func TestADaemonThatLeavesIsOutOfReach(t *testing.T) {
	s := twoRoots()
	s.run = func(s *scripted) { s.leave() }
	got := execute(t, serve(t, s), "prune")
	if got.Code != exitUnreachable || got.Stdout != "" || !strings.HasSuffix(got.Stderr, "\ntry:   systemctl status impermanenced.service\n") {
		t.Errorf("got %+v, want exit code %d and what to look at", got, exitUnreachable)
	}
}

func TestPartlyDone(t *testing.T) {
	s := twoRoots()
	s.run = func(s *scripted) {
		s.remove(257)
		s.end(dbus.ResultPartial, dbus.ErrorInfo{Name: "org.impermanence1.Error.Busy", Message: "a: busy"},
			dbus.Details{"deleted": []string{"b", "z"}, "failed": []string{"a: a send is under way"}})
	}
	got := execute(t, serve(t, s), "prune")
	want(t, result{exitPartly, `
deleted	b	kept by no rule
deleted	z	for want of space
not deleted	a	a send is under way
`, `
error: prune: partly done: a: busy
try:   impermanence status
`}, got)
}

// A plan without all sizes has more in it than goes; what stays was no failure.
func TestDoneWithLessThanPlanned(t *testing.T) {
	s := twoRoots()
	s.plan[1].Reasons = []string{"free space below minFree", "size not known yet"}
	s.run = func(s *scripted) {
		s.remove(256)
		s.end(dbus.ResultDone, dbus.ErrorInfo{}, dbus.Details{"deleted": []string{"a"}})
	}
	want(t, result{Code: exitDone, Stdout: "deleted\ta\tkept by no rule\n"}, execute(t, serve(t, s), "prune"))
}

func TestTheDaemonsErrorsKeepTheirMeaning(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
		try  string
	}{
		{dbus.ErrBusy, exitFailed, "impermanence status"},
		{dbus.ErrAccessDenied, exitFailed, "sudo impermanence snapshot"},
		{dbus.ErrNoSpace, exitFailed, "impermanence prune --dry-run"},
		{dbus.ErrInvalidName, exitFailed, "impermanence snapshot --help"},
	} {
		got := execute(t, serve(t, &scripted{err: test.err}), "snapshot")
		if got.Code != test.code || got.Stdout != "" || !strings.HasSuffix(got.Stderr, "\ntry:   "+test.try+"\n") {
			t.Errorf("%v: got %+v, want code %d and the advice %q", test.err, got, test.code, test.try)
		}
	}
}

// TestProblemsNeedNoPlan: what is wrong is told at login also when the daemon can't tell what it would prune.
func TestProblemsNeedNoPlan(t *testing.T) {
	s := &scripted{
		manager: dbus.Manager{LastRollover: map[string]any{"outcome": "fresh"}},
		roots:   []dbus.Root{{ID: 256, Name: "a", Deleting: true}}, err: dbus.ErrNoSpace,
	}
	want(t, result{Stdout: `

wrong       the deletion of a has not finished
  try       sudo impermanence prune
`}, execute(t, serve(t, s), "status", "--problems"))
}

func TestNamesThatDrawAreEscaped(t *testing.T) {
	s := &scripted{roots: []dbus.Root{{ID: 256, Name: "a\x1b[2Jb", Kind: "old", RolledOver: time.Unix(1e9, 0), Label: "x\ty"}}}
	address := serve(t, s)
	got := execute(t, address, "roots")
	want(t, result{0, `a\x1b[2Jb` + "\t256\told\t2001-09-09T01:46:40Z\t\t\t" + `x\ty` + "\t\n", ""}, got)
	got = execute(t, address, "roots", "--json")
	if !strings.Contains(got.Stdout, `"name": "a\u001b[2Jb"`) {
		t.Errorf("JSON does not hold the name as it is:\n%s", got.Stdout)
	}
}

// A difference is printed while the next one is still being looked for.
func TestDifferencesArePrintedAsTheyCome(t *testing.T) {
	for _, args := range [][]string{{"diff"}, {"diff", "--json"}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		if err := read.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		printed := make(chan struct{})
		address := serve(t, &scripted{changes: func(l *dbus.Lines) error {
			first := l.Change(&dbus.FileChange{Change: "added", Path: "/first", Type: "file"})
			<-printed
			return errors.Join(first, l.Change(&dbus.FileChange{Change: "added", Path: "/second", Type: "file"}))
		}})
		code := make(chan int, 1)
		go func() {
			code <- run(t.Context(), args, write, os.Stderr, onBus(address))
			write.Close()
		}()
		out := bufio.NewReader(read)
		line, err := out.ReadString('\n')
		if err != nil || !strings.Contains(line, "/first") {
			t.Errorf("%v: printed %q at first, %v", args, line, err)
		}
		close(printed)
		rest, err := io.ReadAll(out)
		if err != nil || strings.Count(string(rest), "\n") != 1 || !strings.Contains(string(rest), "/second") {
			t.Errorf("%v: printed %q then, %v", args, rest, err)
		}
		if got := <-code; got != exitDone {
			t.Errorf("%v: exit code %d", args, got)
		}
	}
}

// An interrupt in the middle of differences says that they are not all; the daemon has answered.
func TestInterruptedDifferences(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	over := make(chan struct{})
	address := serve(t, &scripted{changes: func(l *dbus.Lines) error {
		err := l.Change(&dbus.FileChange{Change: "added", Path: "/first", Type: "file"})
		<-over
		return err
	}})
	go func() {
		_, _ = bufio.NewReader(read).ReadString('\n')
		interrupt()
	}()
	_, stderr, printed := streams(t)
	got := printed(run(ctx, []string{"diff"}, write, stderr, onBus(address)))
	close(over)
	write.Close()
	want(t, result{exitFailed, "", "error: diff: canceled: what is printed is not all\ntry:   impermanence diff\n"}, got)
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	s := twoRoots()
	s.changes = func(l *dbus.Lines) error {
		return l.Change(&dbus.FileChange{Change: "added", Path: "/new", Type: "file"})
	}
	address := serve(t, s)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	devNull, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer devNull.Close()
	env := onBus(address)
	for _, args := range [][]string{{"roots"}, {"roots", "--json"}, {"--help"}, {"diff", "--json"}} {
		if code := run(t.Context(), args, full, devNull, env); code != exitFailed {
			t.Errorf("%v to a full disk: exit code %d, want %d", args, code, exitFailed)
		}
	}
}
