package daemon_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// sizeNamed is the size that is told of a root.
func (w *watched) sizeNamed(t *testing.T, name string) uint64 {
	t.Helper()
	roots, err := w.Roots(t.Context(), dbus.RootFilter{})
	must(t, err)
	for _, r := range roots {
		if r.Name == name {
			return r.Size
		}
	}
	t.Fatalf("%s is not listed", name)
	return 0
}

// Sizes take long to find, so they are found after the list that lacks them, told, and found anew for what has changed.
func TestSizesAreFoundInTheBackground(t *testing.T) {
	m := newMachine(t)
	btrfstest.Mount(t, m.device, filepath.Join(m.runDir, "top"), "subvolid=5")
	name := m.oldRoot(t, 2*day)
	m.oldRoot(t, day)
	const megabyte = 1 << 20
	write := func(file string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(m.top, "old_roots", name, file), make([]byte, megabyte), 0o644))
		btrfstest.Run(t, "sync", "--file-system", m.top)
	}
	write("one")
	w := m.watch(t)
	if size := w.sizeNamed(t, name); size != 0 {
		t.Errorf("the first list waits for sizes: %d", size)
	}
	w.until(t, "a size was found", func() bool { return w.sizeNamed(t, name) >= megabyte })
	write("two")
	must(t, w.Rescan(t.Context())) // writing in an old root is nothing that anybody hears of
	w.until(t, "a root was written to", func() bool { return w.sizeNamed(t, name) >= 2*megabyte })
}
