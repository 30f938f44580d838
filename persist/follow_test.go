package persist_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/persist"
)

// Each mount and unmount is told, also one that happens while the last is dealt with; the end of the context ends it.
func TestFollowMounts(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	changed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- persist.FollowMounts(ctx, func() {
			select {
			case changed <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	<-changed // at once
	dir := t.TempDir()
	for range 20 {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		<-changed
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil { // before the former is dealt with
			t.Fatal(err)
		}
		<-changed
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		<-changed
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
