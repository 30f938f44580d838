package persist

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// systemTable puts an empty directory of this test's over /run/mount, where libmount looks.
func systemTable(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll(defaultTableDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", defaultTableDir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { btrfstest.Unmount(t, defaultTableDir) })
	return defaultTableDir
}

// TestFileManagersSeeTheOptions asks findmnt, which reads them through libmount as GIO does (impermanence#147, #317).
func TestFileManagersSeeTheOptions(t *testing.T) {
	m := newMachine(t)
	m.table = systemTable(t)
	hidden, trash := dirEntry("/srv/with blank"), homeEntry(Directory, "Documents")
	hidden.Hide, trash.Hide, trash.Trash = true, true, true
	trash.MountOptions = []string{"x-test.note"}
	plain := dirEntry("/var/log")
	m.apply(hidden, trash, plain)
	options := func(target string) string {
		return strings.TrimSpace(btrfstest.Run(t, "findmnt", "--mtab", "--noheadings", "--output", "OPTIONS", m.path(target)))
	}
	for target, want := range map[string]string{
		"/srv/with blank": "x-gvfs-hide", "/home/demo/Documents": "x-gvfs-hide,x-gvfs-trash,x-test.note", "/var/log": "",
	} {
		if got := options(target); !strings.HasSuffix(got, want) || want == "" && strings.Contains(got, "x-") {
			t.Errorf("%s has options %s, want %s", target, got, want)
		}
	}
	m.wantUnchanged(hidden, trash, plain)
	if err := Unmount(context.Background(), m.options(), []Entry{hidden, trash, plain}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(m.table, "utab")); err != nil || len(data) != 0 {
		t.Errorf("left %q, %v", data, err)
	}
}

// TestWhatTheInitrdPutInPlaceStays: systemd unmounts nothing of it before the end of a shutdown, whoever ran last.
func TestWhatTheInitrdPutInPlaceStays(t *testing.T) {
	hidden, given := dirEntry("/var/log"), dirEntry("/srv")
	hidden.Hide, given.MountOptions = true, []string{"x-initrd.mount"}
	s := &session{}
	for _, row := range []struct {
		name string
		e    Entry
		mountTable
		want string
	}{
		{"in the initrd", dirEntry("/var/log"), mountTable{later: true}, "x-initrd.mount"},
		{"in the initrd, hidden", hidden, mountTable{later: true}, "x-gvfs-hide,x-initrd.mount"},
		{"as configured", given, mountTable{later: true}, "x-initrd.mount"},
		{"later, of the initrd", hidden, mountTable{said: linesByTarget([]byte("ID=7 TARGET=/var/log OPTS=x-initrd.mount\n"))}, "x-gvfs-hide,x-initrd.mount"},
		{"later", hidden, mountTable{said: linesByTarget([]byte("ID=7 TARGET=/var/log OPTS=x-gvfs-hide\n"))}, "x-gvfs-hide"},
		{"later, another's", dirEntry("/srv"), mountTable{said: linesByTarget([]byte("ID=7 TARGET=/var/log OPTS=x-initrd.mount\n"))}, ""},
	} {
		s.table = row.mountTable
		if got := strings.Join(s.tableOptions(row.e), ","); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestTableKeepsWhatOthersWrote(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "utab")
	const others = "SRC=/dev/sda1 TARGET=/mnt/a\\040b ROOT=/ OPTS=uhelper=udisks2\nSRC=/dev/sdb TARGET=/var/log ROOT=/old OPTS=x-stale\n"
	if err := os.WriteFile(file, []byte(others), 0o644); err != nil {
		t.Fatal(err)
	}
	table := mountTable{
		file:   file,
		add:    []tableEntry{{id: 7, from: 3, source: "/persist/var/log", target: "/var/log", options: []string{"x-gvfs-hide"}}},
		mounts: map[uint64]mountSource{3: {device: "/dev/sdb", root: "/vol", point: "/persist"}},
		remove: map[string]bool{"/gone": true},
	}
	if err := table.write(&kernel{}); err != nil {
		t.Fatal(err)
	}
	want := "SRC=/dev/sda1 TARGET=/mnt/a\\040b ROOT=/ OPTS=uhelper=udisks2\nID=7 SRC=/dev/sdb TARGET=/var/log ROOT=/vol/var/log OPTS=x-gvfs-hide\n"
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := os.Stat(file + ".event"); err != nil {
		t.Error(err)
	}
	table = mountTable{remove: map[string]bool{"/var/log": true, "/mnt/a b": true}}
	if got := table.apply([]byte(want)); !bytes.Equal(got, nil) {
		t.Errorf("got %q", got)
	}
}
