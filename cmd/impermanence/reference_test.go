package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/dbus"
)

func TestResolve(t *testing.T) {
	roots := []dbus.RootEntry{
		{ID: 256, Name: "20261101T080000Z-256"},
		{ID: 2026, Name: "20261123T075400Z-2026"},
		{ID: 300, Name: "20261123T081500Z-300"},
		{ID: 301, Name: "301"},
		{ID: 302, Name: "3010"},
		{ID: 303, Name: "20261124T000000Z-303", Flags: dbus.RootDeleting},
		{ID: 304, Name: ".unfinished-1", Flags: dbus.RootDiscarded},
	}
	for _, test := range []struct {
		reference string
		want      uint64 // 0: no root, or more than one
		is        error
	}{
		{reference: "20261101T080000Z-256", want: 256},
		{reference: "20261101", want: 256},
		{reference: "256", want: 256},
		{reference: "300", want: 300},
		{reference: "301", want: 301}, // a whole name, though the beginning of another
		{reference: "20261123T08", want: 300},
		{reference: "newest", want: 302}, // not the one that is being deleted, nor what was left behind
		{reference: "20261123", is: errAmbiguous},
		{reference: "2026", is: errAmbiguous}, // an id, and the beginning of names
		{reference: "", is: dbus.ErrNoSuchRoot},
		{reference: "20270101", is: dbus.ErrNoSuchRoot},
		{reference: "999", is: dbus.ErrNoSuchRoot},
		{reference: "-1", is: dbus.ErrNoSuchRoot},
	} {
		t.Run(test.reference, func(t *testing.T) {
			got, err := resolve(roots, test.reference)
			if got.ID != test.want || !errors.Is(err, test.is) {
				t.Errorf("resolve(%q) = %d, %v, want %d, %v", test.reference, got.ID, err, test.want, test.is)
			}
		})
	}
}

func TestAnAmbiguousReferenceNamesWhatItMayMean(t *testing.T) {
	_, err := resolve([]dbus.RootEntry{{ID: 1, Name: "2026a"}, {ID: 2, Name: "2026b"}, {ID: 3, Name: "2025"}}, "2026")
	if err == nil || !strings.Contains(err.Error(), "2026a, 2026b") || strings.Contains(err.Error(), "2025") {
		t.Errorf("got %v, want an error that names 2026a and 2026b alone", err)
	}
}

// Two file systems that are rolled over in one second have old roots of one name, where their ids are the same.
func TestOneNameOnTwoFileSystems(t *testing.T) {
	roots := []dbus.RootEntry{{ID: 256, Name: "20261101T080000Z-256"}, {ID: 1<<48 | 256, Name: "20261101T080000Z-256"}}
	_, err := resolve(roots, roots[0].Name)
	if !errors.Is(err, errAmbiguous) || !strings.Contains(err.Error(), "(256)") || !strings.Contains(err.Error(), "(281474976710912)") {
		t.Errorf("got %v, want an error with both ids", err)
	}
	if got, err := resolve(roots, "281474976710912"); err != nil || got.ID != roots[1].ID {
		t.Errorf("by its id: %d (%v)", got.ID, err)
	}
}

func TestNewestOfNone(t *testing.T) {
	if got, err := resolve(nil, newest); !errors.Is(err, dbus.ErrNoSuchRoot) {
		t.Errorf("resolve(newest) = %v, %v, want %v", got, err, dbus.ErrNoSuchRoot)
	}
}
