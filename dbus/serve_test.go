package dbus_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/bustest"
)

// rootOnly allows root everything, and nobody else anything.
type rootOnly struct{}

func (rootOnly) Authorize(_ context.Context, c dbus.Caller, _ string, _ map[string]string, _ bool) error {
	if c.UID == 0 {
		return nil
	}
	return dbus.ErrAccessDenied
}

// served is a server that runs.
type served struct {
	*dbus.Server
	backend *backend
	address string
	stop    func() error // ends the server and returns what Run returned
}

// serve runs a server on the bus at address until the test ends.
func serve(t testing.TB, address string, b *backend, auth dbus.Authorizer) *served {
	t.Helper()
	s := dbus.NewServer(dbus.ServerConfig{
		Address: address, Backend: b, Authorizer: auth, LogControl: b, Log: zaptest.NewLogger(t, zaptest.Level(zap.DebugLevel)).Sugar(),
		StreamDir: filepath.Join(bustest.PublicDir(t), "streams"),
	})
	if b.numbers != nil {
		s.AddNumbers(b.numbers)
	}
	b.changed = s.Changed
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-result:
		cancel()
		t.Fatalf("run: %v", err)
	}
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return &served{s, b, address, stop}
}

// newServed serves a new backend on a new bus; root may do everything.
func newServed(t testing.TB) *served {
	t.Helper()
	return serve(t, bustest.Start(t), newBackend(), rootOnly{})
}

func (s *served) client(t testing.TB) *dbus.Client {
	t.Helper()
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Address: s.address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// busctl runs busctl against the bus as a user and returns what it prints, and
// whether it succeeded.
func (s *served) busctl(t testing.TB, uid uint32, args ...string) (string, bool) {
	t.Helper()
	cmd := bustest.As(exec.Command("busctl", append([]string{"--address=" + s.address}, args...)...), uid)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err == nil
}

// mustBusctl is busctl as root, which must succeed.
func (s *served) mustBusctl(t testing.TB, args ...string) string {
	t.Helper()
	out, ok := s.busctl(t, 0, args...)
	if !ok {
		t.Fatalf("busctl %v: %s", args, out)
	}
	return out
}
