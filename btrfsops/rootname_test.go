package btrfsops

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestARootKeepsItsName: neither rollovers nor where it is put change what a root is found by.
func TestARootKeepsItsName(t *testing.T) {
	f := newFixture(t)
	f.write(t, "root/of", "the first")
	name, err := NameOf(f.path("root"))
	if err != nil || name.ID != f.id(t, "root") || name.UUID == "" {
		t.Fatalf("got %+v, %v", name, err)
	}
	f.write(t, "root/inside/of", "it")
	if inside, err := NameOf(f.path("root/inside")); !errors.Is(err, ErrNotSubvolume) {
		t.Errorf("what is in it is %v (%v)", inside, err)
	}
	if _, err := NameOf("/proc"); !errors.Is(err, ErrNotBtrfs) {
		t.Errorf("/proc: %v", err)
	}
	wantNamed := func(when string) {
		t.Helper()
		dir, err := f.OpenNamedRoot(layout, name)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer dir.Close()
		if now, err := NameOf(procPath(dir)); err != nil || now != name {
			t.Errorf("%s: %v, %v", when, now, err)
		}
	}
	wantNamed("the root")
	report := f.boot(t, 1, RolloverOptions{})
	wantNamed("an old root")
	f.boot(t, 2, RolloverOptions{})
	wantNamed("an older root")
	f.boot(t, 3, RolloverOptions{From: filepath.Base(report.OldRoot)})
	wantNamed("an old root that was booted again")
	if again, err := NameOf(f.path("root")); err != nil || again == name {
		t.Errorf("a copy of it is taken for it: %v, %v", again, err)
	}
	if err := os.Rename(f.path(report.OldRoot), f.path("root.next")); err != nil {
		t.Fatal(err)
	}
	wantNamed("not put away")
	for what, other := range map[string]RootName{
		"another id": {name.ID + 1, name.UUID}, "another UUID": {name.ID, "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d"}, "what is no root": {f.id(t, "persist"), name.UUID},
	} {
		if _, err := f.OpenNamedRoot(layout, other); !errors.Is(err, ErrNoSuchRoot) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestARootThatIsAwaitedStays, with the old root around it where a script moved it into one.
func TestARootThatIsAwaitedStays(t *testing.T) {
	f := newFixture(t)
	name, err := NameOf(f.path("root"))
	if err != nil {
		t.Fatal(err)
	}
	f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{})
	f.boot(t, 3, RolloverOptions{})
	roots := f.list(t)
	wantReasons := func(when string, awaited RootName, at int, want ...ProtectReason) {
		t.Helper()
		g := Guards{Layout: layout, Awaited: []RootName{awaited}}
		guarded, err := f.ListGuarded(g)
		if err != nil || !slices.Equal(guarded[at].Reasons, want) {
			t.Errorf("%s: %v, %v", when, guarded[at].Reasons, err)
		}
		if len(want) == 0 {
			return
		}
		report, err := f.Delete(context.Background(), g, []SubvolumeID{guarded[at].ID}, nil)
		if err != nil || len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrProtected) || len(report.Deleted) > 0 {
			t.Errorf("%s: deletion: %+v, %v", when, report, err)
		}
	}
	wantReasons("awaited", name, 0, ProtectEntry)
	wantReasons("another of its id", RootName{name.ID, "8c1e4c9e-2c4b-4d0a-9a34-3c8f6c2a1b7d"}, 0)
	if guarded, err := f.ListGuarded(Guards{Layout: layout, Unread: true}); err != nil || guarded[0].Recorded || len(guarded[0].Reasons) > 0 {
		t.Errorf("nothing was recorded in it, and the guards are %v, %v", guarded[0], err)
	}
	if err := os.Rename(f.path(roots[0].Path), filepath.Join(f.path(roots[1].Path), "root")); err != nil {
		t.Fatal(err)
	}
	wantReasons("inside another", name, 0, ProtectEntry)
}

// TestARootWithSomethingRecordedStays as long as it is not known what, through rollovers. A copy of it does not.
func TestARootWithSomethingRecordedStays(t *testing.T) {
	f := newFixture(t)
	if err := MarkRecorded(f.path("root")); err != nil {
		t.Fatal(err)
	}
	former := f.boot(t, 1, RolloverOptions{})
	f.boot(t, 2, RolloverOptions{From: filepath.Base(former.OldRoot)})
	f.boot(t, 3, RolloverOptions{})
	f.boot(t, 4, RolloverOptions{})
	for unread, want := range map[bool][]ProtectReason{false: nil, true: {ProtectEntry}} {
		g := Guards{Layout: layout, Unread: unread}
		guarded, err := f.ListGuarded(g)
		if err != nil || len(guarded) != 4 || !slices.Equal(guarded[0].Reasons, want) || !guarded[0].Recorded {
			t.Fatalf("unread %t: %+v, %v", unread, guarded, err)
		}
		if guarded[1].Recorded || len(guarded[1].Reasons) > 0 || guarded[2].Recorded || len(guarded[2].Reasons) > 0 {
			t.Errorf("unread %t: others stay too: %+v", unread, guarded)
		}
		if !unread {
			continue
		}
		report, err := f.Delete(context.Background(), g, []SubvolumeID{guarded[0].ID}, nil)
		if err != nil || len(report.Failed) != 1 || !errors.Is(report.Failed[0].Err, ErrProtected) {
			t.Errorf("deletion: %+v, %v", report, err)
		}
	}
	if err := MarkRecorded("/proc"); !errors.Is(err, ErrNotBtrfs) {
		t.Errorf("/proc: %v", err)
	}
}
