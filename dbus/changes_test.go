package dbus_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/dbus"
)

// What is asked reaches the backend, and what it finds reaches who asked, whatever bytes are in it.
func TestChangesCrossTheBus(t *testing.T) {
	s := newServed(t)
	c := s.client(t)
	filter := dbus.ChangeFilter{Paths: []string{"/etc", "/a\xffb"}, Since: time.Unix(1e9, 0), Ignored: true}
	for name, ask := range map[string]func(context.Context) (*dbus.Results[dbus.FileChange], error){
		`ListLosses 0 ["/etc" "/a\xffb"] 1000000000 true`: func(ctx context.Context) (*dbus.Results[dbus.FileChange], error) {
			return c.ListLosses(ctx, filter)
		},
		`CompareRoots 0 257 0 ["/etc" "/a\xffb"] 1000000000`: func(ctx context.Context) (*dbus.Results[dbus.FileChange], error) {
			return c.CompareRoots(ctx, 257, 0, dbus.ChangeFilter{Paths: filter.Paths, Since: filter.Since})
		},
	} {
		results, err := ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer results.Close()
		var found []dbus.FileChange
		for change, err := range results.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, change)
		}
		if diff := cmp.Diff([]dbus.FileChange{theChange}, found); diff != "" {
			t.Error(diff)
		}
		if log := s.backend.log(); log[len(log)-1] != name {
			t.Errorf("the backend was asked %q, not %q", log[len(log)-1], name)
		}
	}
}
