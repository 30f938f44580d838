package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/impermanence/impermanence/dbus"
)

// newest stands for the last line of `impermanence roots` that is whole.
const newest = "newest"

// errAmbiguous is in the chain of the error about a reference that more than one root answers to.
var errAmbiguous = errors.New("more than one root answers to it")

// resolve returns the old root or snapshot that a reference means: its name, a beginning of the name that no other has,
// its subvolume id, or "newest".
func resolve(roots []dbus.RootEntry, reference string) (dbus.RootEntry, error) {
	found := candidates(roots, reference)
	switch len(found) {
	case 0:
		return dbus.RootEntry{}, fmt.Errorf("find root %q: %w", reference, dbus.ErrNoSuchRoot)
	case 1:
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, r := range found {
		names[i] = r.Name
		if slices.ContainsFunc(found, func(other dbus.RootEntry) bool { return other.Name == r.Name && other.ID != r.ID }) {
			names[i] = fmt.Sprintf("%s (%d)", r.Name, r.ID)
		}
	}
	return dbus.RootEntry{}, fmt.Errorf("find root %q: %w: %s", reference, errAmbiguous, strings.Join(names, ", "))
}

// candidates returns the roots that a reference may mean. A whole name is ambiguous only where several mount points have old roots of
// that name, which have an id each.
func candidates(roots []dbus.RootEntry, reference string) []dbus.RootEntry {
	if reference == "" {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(roots), func(r dbus.RootEntry) bool { return r.Name != reference })
	if len(named) > 0 {
		return named
	}
	if reference == newest {
		return lastWhole(roots)
	}
	id, err := strconv.ParseUint(reference, 10, 64)
	return slices.DeleteFunc(slices.Clone(roots), func(r dbus.RootEntry) bool {
		return !strings.HasPrefix(r.Name, reference) && (err != nil || r.ID != id)
	})
}

// whole says whether a root has all that it had: no deletion was begun of it, and it is not what something interrupted left behind.
func whole(r dbus.RootEntry) bool { return r.Flags&(dbus.RootDeleting|dbus.RootDiscarded) == 0 }

// lastWhole returns the newest root that is whole.
func lastWhole(roots []dbus.RootEntry) []dbus.RootEntry {
	for i := len(roots) - 1; i >= 0; i-- {
		if whole(roots[i]) {
			return roots[i : i+1]
		}
	}
	return nil
}

// resolveAll returns the roots that the references mean, each once, in the order of the references. One that means
// nothing fails them all: nothing is done by halves because of a misspelled name.
func (a *app) resolveAll(ctx context.Context, references []string) ([]dbus.RootEntry, error) {
	client, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	roots, err := client.ListRoots(ctx, dbus.RootFilter{})
	if err != nil {
		return nil, err
	}
	var found []dbus.RootEntry
	for _, reference := range references {
		root, err := resolve(roots, reference)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(r dbus.RootEntry) bool { return r.ID == root.ID }) {
			found = append(found, root)
		}
	}
	return found, nil
}
