package dbus_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

func collect[T any](t *testing.T, results *dbus.Results[T], err error) []T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	var all []T
	for r, err := range results.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// Every field arrives as it was sent, bytes that are no text included.
func TestClientRestores(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	results, err := c.Restore(t.Context(), 257, dbus.RestoreOptions{Paths: []string{"/a\xff", "/b"}, To: "/to", DryRun: true})
	failure := dbus.InfoOf(dbus.ErrTargetConflict)
	want := []dbus.RestoreResult{
		{Path: "/a\xff", Target: "/to/a\xff", Action: "replaced", Aside: "/to/aside", Entries: 3, Bytes: 4711},
		{Path: "/b", Target: "/to/b", Action: "failed", Error: &failure},
	}
	if diff := cmp.Diff(want, collect(t, results, err)); diff != "" {
		t.Error(diff)
	}
	versions, err := c.ListVersions(t.Context(), "/a\xff")
	wantVersions := []dbus.Version{{Root: 257, Name: "one", Version: 1, Kind: "symlink", Link: "\xfe"}, {Kind: "absent"}}
	if diff := cmp.Diff(wantVersions, collect(t, versions, err)); diff != "" {
		t.Error(diff)
	}
	calls := []string{`Restore 0 257 ["/a\xff" "/b"] "/to" true`, `ListVersions 0 "/a\xff"`}
	if got := s.backend.log(); !slices.Equal(got, calls) {
		t.Errorf("the backend was asked: %q", got)
	}
}

func TestWrongRestoresAreRefusedBeforeThePrompt(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	for _, o := range []dbus.RestoreOptions{{Paths: []string{"/elsewhere"}}, {Paths: []string{"x"}}, {}, {Paths: []string{"/a"}, To: "b"}} {
		if _, err := c.Restore(t.Context(), 257, o); !errors.Is(err, dbus.ErrInvalidArgs) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := c.ListVersions(t.Context(), "x"); !errors.Is(err, dbus.ErrInvalidArgs) {
		t.Errorf("a relative path: %v", err)
	}
	if n := s.Streams(); n != 0 || len(s.backend.log()) > 0 {
		t.Errorf("%d streams are open, the backend was asked %q", n, s.backend.log())
	}
}

func TestClientBrowses(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	if path, err := c.BrowseRoot(t.Context(), 257); err != nil || path != "/run/x\xff" {
		t.Errorf("%q, %v", path, err)
	}
	if err := c.EndBrowse(t.Context(), 257); err != nil {
		t.Error(err)
	}
	if _, err := c.BrowseRoot(t.Context(), 1); !errors.Is(err, dbus.ErrNoSuchRoot) {
		t.Errorf("unknown root: %v", err)
	}
	if err := c.EndBrowse(t.Context(), 0); !errors.Is(err, dbus.ErrNoSuchRoot) {
		t.Errorf("no root: %v", err)
	}
}
