package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// serviceTest is an old root, a root, and a restorer that starts what the test says in place of the service.
type serviceTest struct {
	dir  string
	unit unitRestorer
}

func newServiceTest(t *testing.T, start func(s *serviceTest, name string) (string, error)) *serviceTest {
	t.Helper()
	s := &serviceTest{dir: bustest.PublicDir(t)}
	for _, d := range []string{"old/etc", "root"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(s.dir, "old/etc", fmt.Sprint(i)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.unit = unitRestorer{s.dir, func(_ context.Context, unit string) (string, error) {
		name, ok := strings.CutPrefix(unit, "impermanence-restore@")
		if !ok {
			t.Errorf("started %s", unit)
		}
		return start(s, strings.TrimSuffix(name, ".service"))
	}}
	return s
}

func (s *serviceTest) restore(ctx context.Context, news func(RestoreNews)) error {
	return s.unit.Restore(ctx, RestoreRequest{From: dbus.Bytes(filepath.Join(s.dir, "old")), Items: []RestoreItem{{"/etc", "/etc"}, {"/x", "/x"}}}, news)
}

// work is what the service does.
func (s *serviceTest) work(ctx context.Context, name string) (string, error) {
	if err := RestoreFor(ctx, s.dir, name, filepath.Join(s.dir, "root")); err != nil {
		return "failed", nil //nolint:nilerr // that is how the service manager tells
	}
	return "done", nil
}

func TestRestoreThroughAService(t *testing.T) {
	s := newServiceTest(t, func(s *serviceTest, name string) (string, error) { return s.work(context.Background(), name) })
	var results []dbus.RestoreResult
	err := s.restore(t.Context(), func(n RestoreNews) {
		if n.Result != nil {
			results = append(results, *n.Result)
		}
	})
	if err != nil || len(results) != 2 || results[0].Action != "restored" || results[0].Entries != 501 {
		t.Fatalf("%+v, %v", results, err)
	}
	if !errors.Is(results[1].Error.Err(), dbus.ErrSourceMissing) {
		t.Errorf("an error came as %+v", results[1].Error)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "root/etc/499")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "restore")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Names that are not UTF-8 reach the service as they are.
func TestRestoreThroughAServiceByBytes(t *testing.T) {
	s := newServiceTest(t, func(s *serviceTest, name string) (string, error) { return s.work(context.Background(), name) })
	const name = "caf\xe9"
	if err := os.MkdirAll(filepath.Join(s.dir, name, name), 0o755); err != nil {
		t.Fatal(err)
	}
	request := RestoreRequest{From: dbus.Bytes(filepath.Join(s.dir, name)), Items: []RestoreItem{{"/" + name, "/new" + name}}}
	err := s.unit.Restore(t.Context(), request, func(n RestoreNews) {
		if n.Result != nil && n.Result.Error != nil {
			t.Error(n.Result.Error)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "root/new"+name)); err != nil {
		t.Error(err)
	}
}

// What only this process can reach is not asked of another.
func TestRestoreServiceNeedsTheTopLevel(t *testing.T) {
	s := newServiceTest(t, func(*serviceTest, string) (string, error) {
		t.Error("a service was started")
		return "failed", nil
	})
	err := s.unit.Restore(t.Context(), RestoreRequest{From: "/proc/self/fd/7/old_roots/x"}, func(RestoreNews) {})
	if !errors.Is(err, dbus.ErrNotSupported) {
		t.Errorf("error %v", err)
	}
}

func TestRestoreServiceIsCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServiceTest(t, func(s *serviceTest, name string) (string, error) {
		cancel()
		return s.work(context.Background(), name)
	})
	if err := s.restore(ctx, func(RestoreNews) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "root")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// However the service fails, it is told, with what to look at, and nobody waits.
func TestRestoreServiceFails(t *testing.T) {
	refused := errors.New("no such unit")
	for name, c := range map[string]struct {
		start func(s *serviceTest, name string) (string, error)
		want  error
		text  string
	}{
		"is not there": {func(*serviceTest, string) (string, error) { return "", refused }, refused, ""},
		"never comes":  {func(*serviceTest, string) (string, error) { return "failed", nil }, dbus.ErrInternal, "journalctl -u impermanence-restore@"},
		"dies": {func(s *serviceTest, name string) (string, error) {
			conn, err := net.Dial("unix", filepath.Join(s.dir, "restore", name))
			if err != nil {
				return "", err
			}
			_, err = io.WriteString(conn, `{"entries":5}`)
			return "killed", errors.Join(err, conn.Close())
		}, dbus.ErrInternal, `"killed"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := newServiceTest(t, c.start).restore(t.Context(), func(RestoreNews) {})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v", err)
			}
		})
	}
}
