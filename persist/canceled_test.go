package persist

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestCopyingIsCanceled: it ends in the middle of a tree, of a large file, and before that is read back, and leaves nothing half done.
func TestCopyingIsCanceled(t *testing.T) {
	const large = 20 << 20
	applied := func(ctx context.Context, k *kernel, m *machine, e Entry) error {
		_, err := apply(ctx, k, m.options(), []Entry{e})
		return err
	}
	forgotten := func(ctx context.Context, k *kernel, m *machine, e Entry) error {
		_, err := forget(ctx, k, m.options(), e)
		return err
	}
	seeded := func(ctx context.Context, k *kernel, m *machine, e Entry) error {
		_, err := seedVolume(ctx, k, m.options(), []Entry{e})
		return err
	}
	restored := func(ctx context.Context, k *kernel, m *machine, e Entry) error {
		r := Restoration{Sysroot: m.root, From: m.path("/srv"), Items: []RestoreItem{{e.Target[len("/srv"):], e.Source}}}
		return restore(ctx, k, r, func(RestoreResult) {})
	}
	for name, c := range map[string]struct {
		run  func(ctx context.Context, k *kernel, m *machine, e Entry) error
		from string // where what is copied is
		size int
		call string // at which it is canceled
	}{
		"a tree":                     {run: applied, from: "/srv/app", call: "create b"},
		"a large file":               {run: applied, from: "/srv/app", size: large, call: "write b"},
		"before it is read back":     {run: applied, from: "/srv/app", size: large, call: "sync file system of .app.impermanence-new"},
		"of the volume alone":        {run: seeded, from: "/srv/app", size: large, call: "write b"},
		"what is put back":           {run: forgotten, from: "/data/srv/app", call: "create b"},
		"a large file of that":       {run: forgotten, from: "/data/srv/app", size: large, call: "write b"},
		"a large file of an old one": {run: restored, from: "/srv/app", size: large, call: "write b"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mkdir("/data")
			m.mkdir("/srv")
			btrfstest.Mount(t, btrfstest.NewDevice(t, 0), m.path("/data"), "")
			t.Cleanup(m.powerOff) // what is bound from there
			e := dirEntry("/srv/app")
			e.Volume, e.Source = "/data", "/data/srv/app"
			m.write(c.from+"/a", "small")
			m.write(c.from+"/b", strings.Repeat("large", c.size/5)+".")
			m.write(c.from+"/c", "small")
			m.mkdir("/data/srv")
			isForget := strings.HasPrefix(c.from, "/data")
			if isForget {
				m.apply(e)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			k := &kernel{hook: func(call, object string) error {
				if ctx.Err() != nil && call != "unlink" && call != "rmdir" {
					t.Errorf("it goes on: %s %s", call, object)
				}
				if call+" "+object == c.call {
					cancel()
				}
				return nil
			}}
			if err := c.run(ctx, k, m, e); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if ctx.Err() == nil {
				t.Fatal("there is no such call")
			}
			m.wantMounted("/srv/app", isForget)
			for _, dir := range []string{"/srv", "/data/srv"} {
				for _, entry := range strings.Fields(btrfstest.Run(t, "ls", "-A", m.path(dir))) {
					if entry != "app" || filepath.Join(dir, entry) != c.from && !isForget {
						t.Errorf("left: %s/%s", dir, entry)
					}
				}
			}
			m.wantText(c.from+"/c", "small")
		})
	}
}

// TestWaitingToCopyIsCanceled: who waits for another's copy need not wait for its end, and keeps nobody from copying after it.
func TestWaitingToCopyIsCanceled(t *testing.T) {
	m := newMachine(t)
	e := copyEntry("/etc/app/state")
	m.write(e.Source, "x")
	opts := m.options()
	opts.Lock = filepath.Join(t.TempDir(), "lock")
	held, err := lockFile(t.Context(), &kernel{}, opts.Lock)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	k := &kernel{hook: func(call, object string) error {
		if call+" "+object == "mkdir app" {
			cancel()
		}
		return nil
	}}
	ended := make(chan error, 1)
	go func() {
		_, err := apply(ctx, k, opts, []Entry{e})
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not end")
	}
	m.wantOwner(e.Target, "absent")
	(&kernel{}).close(held)
	if _, err := Apply(t.Context(), opts, []Entry{e}); err != nil {
		t.Error(err)
	}
	m.wantText(e.Target, "x")
}

// ending is a context that ends when it was asked some times, and counts how often it is asked after that.
type ending struct {
	context.Context
	left, after int
}

func (c *ending) Err() error {
	if c.left--; c.left >= 0 {
		return nil
	}
	c.after++
	return context.Canceled
}

// TestReadingIsCanceled: what may have much to read, before anything is changed, does not read on.
func TestReadingIsCanceled(t *testing.T) {
	const large, many = 20 << 20, 100
	inTree := func(m *machine, at string) {
		for i := range many {
			m.write(fmt.Sprintf("%s/%d", at, i), "x")
		}
	}
	app, file, copied := dirEntry("/srv/app"), fileEntry("/srv/app"), copyEntry("/srv/app")
	for name, c := range map[string]struct {
		make func(m *machine)
		run  func(ctx context.Context, m *machine) error
	}{
		"two trees are compared": {
			func(m *machine) { inTree(m, app.Source); inTree(m, app.Target) },
			func(ctx context.Context, m *machine) error {
				_, err := Inspect(ctx, m.options(), []Entry{app})
				return err
			},
		},
		"two files are compared": {
			func(m *machine) {
				m.write(file.Source, strings.Repeat("a", large))
				m.write(file.Target, strings.Repeat("a", large-1)+"b")
			},
			func(ctx context.Context, m *machine) error {
				a, err := PlanAdopt(ctx, m.options(), file)
				return errors.Join(err, a.Err)
			},
		},
		"a file that is copied is summed up": {
			func(m *machine) {
				m.write(copied.Source, strings.Repeat("a", large))
				m.write(copied.Target, "b")
			},
			func(ctx context.Context, m *machine) error {
				_, err := Apply(ctx, m.options(), []Entry{copied})
				return err
			},
		},
		"a file is summed up to be seeded": {
			func(m *machine) { m.write(file.Target, strings.Repeat("a", large)) },
			func(ctx context.Context, m *machine) error {
				_, err := Apply(ctx, m.options(), []Entry{file})
				return err
			},
		},
		"what is not in place is forgotten": {
			func(m *machine) { inTree(m, app.Source); inTree(m, app.Target) },
			func(ctx context.Context, m *machine) error { _, err := PlanForget(ctx, m.options(), app); return err },
		},
		"versions of a tree": {
			func(m *machine) { inTree(m, app.Target) },
			func(ctx context.Context, m *machine) error {
				_, err := NewVersions(ctx).Look(m.root, app.Target)
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.make(m)
			ctx := &ending{Context: t.Context(), left: 20}
			if err := c.run(ctx, m); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if most := 10; ctx.after > most {
				t.Errorf("asked %d times more", ctx.after)
			}
			if left := m.staged("/persist/srv"); left != "" {
				t.Errorf("left %s", left)
			}
		})
	}
}
