package daemon

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/dbus"
)

// Every row of the table gives its errors that name, also where they are wrapped; the text stays.
func TestErrorNames(t *testing.T) {
	for _, row := range sentinels {
		err := fmt.Errorf("prune: %w", row.from)
		if got := toBus(err); !errors.Is(got, row.to) || got.Error() != err.Error() {
			t.Errorf("%v becomes %v, want %v", err, got, row.to)
		}
	}
	plain := errors.New("anything")
	if got := toBus(plain); got != plain { //nolint:errorlint // the very same
		t.Errorf("%v becomes %v", plain, got)
	}
	if toBus(nil) != nil {
		t.Error("nil becomes an error")
	}
	err := named(dbus.ErrInvalidArgs, "give %w", btrfsops.ErrNoSuchRoot)
	if got := toBus(fmt.Errorf("again: %w", err)); !errors.Is(got, dbus.ErrInvalidArgs) {
		t.Errorf("a name is lost: %v", got)
	}
}

// A file system stays open from one use to the next, and is closed a while after the last.
func TestFilesystemsAreClosedWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened, closed atomic.Int32
		fs := newFilesystems(zap.NewNop().Sugar())
		fs.opener = func(place) (topLevel, error) {
			opened.Add(1)
			return topLevel{close: func() error { closed.Add(1); return nil }}, nil
		}
		want := func(wantOpened, wantClosed int32) {
			if opened.Load() != wantOpened || closed.Load() != wantClosed {
				t.Errorf("opened %d times, closed %d times; want %d and %d", opened.Load(), closed.Load(), wantOpened, wantClosed)
			}
		}
		p := place{device: "/dev/a"}
		use := func() {
			err := fs.use(p, func(*btrfsops.Filesystem) error {
				time.Sleep(time.Hour) //nolint:forbidigo // synthetic time
				return fs.use(p, func(*btrfsops.Filesystem) error { return nil })
			})
			if err != nil {
				t.Error(err)
			}
		}
		use()
		time.Sleep(lingering / 2) //nolint:forbidigo // synthetic time
		use()
		want(1, 0)
		time.Sleep(lingering + time.Second) //nolint:forbidigo // synthetic time
		synctest.Wait()
		want(1, 1)
		use()
		fs.close()
		want(2, 2)
	})
}
