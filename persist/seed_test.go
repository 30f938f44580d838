package persist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// describe lists a tree with all that a copy must keep.
func describe(t *testing.T, root string) string {
	t.Helper()
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return btrfstest.Run(t, "sh", "-ec", `cd "$(dirname "$1")"; set -- "$(basename "$1")"; stat -c '%F %a %u:%g %y' "$1"; getfacl -n "$1"; cat "$1"`, "sh", root)
	}
	var b strings.Builder
	run := func(script string) {
		b.WriteString(btrfstest.Run(t, "sh", "-c", "cd \"$1\" && "+script, "sh", root))
	}
	run(`find . -printf '%p %y %m %U:%G %T@ %l\n' | sort`)
	run(`find . -type f -printf '%p %s %n\n' | sort`)
	run(`find . ! -type l -print0 | sort -z | xargs -0 getfacl -n 2>/dev/null`)
	run(`getfattr -R -h -d -m '^(user|security|trusted\.[^i])' . 2>/dev/null | sort`)
	run(`find . -type f -links +1 -printf '%i %p\n' | sort | awk '{if ($1==i) print p, $2; i=$1; p=$2}'`)
	run(`find . -type f -exec sha256sum {} + | sort`)
	run(`lsattr -R -d . | sort`)
	return b.String()
}

// difficult makes a tree with one of everything.
func difficult(t *testing.T, root string) {
	t.Helper()
	btrfstest.Run(t, "sh", "-ec", `
mkdir -p "$1/sub/deep" && cd "$1"
chmod 2750 . && chown 50:51 .
echo data > file && chown 1000:100 file && chmod 4755 file
ln file sub/hardlink && ln file sub/deep/hardlink
ln -s ../nowhere sub/symlink && chown -h 1000:100 sub/symlink
mkfifo -m 600 fifo
mknod device c 1 3 && mknod block b 7 99
truncate -s 10M sparse && printf tail >> sparse && printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
setfacl -m u:1001:rwx,g:4:r file && setfacl -m d:u:1001:rwx sub
setfattr -n user.note -v value file && setfattr -n user.large -v "$(printf %2000s)" file && setfattr -n trusted.note -v value sub
setfattr -n security.capability -v 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= sub/deep
mkdir nocow && chattr +C nocow && echo db > nocow/db
touch "$(printf 'name\nwith line')" && touch -d '2001-02-03 04:05:06.789' sub/deep/hardlink sub
head -c 3000000 /dev/urandom > random && cp --reflink=always random reflinked
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
chmod 0111 sub/deep
`, "sh", root)
	if err := unix.Setxattr(filepath.Join(root, "random"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestSeedingKeepsEverything(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv/app")
	difficult(t, m.path("/srv/app"))
	m.wantSeeded(t)
}

// wantSeeded seeds /srv/app and fails the test unless the source has all that it had, holes too.
func (m *machine) wantSeeded(t *testing.T) {
	t.Helper()
	want := describe(t, m.path("/srv/app"))
	m.apply(dirEntry("/srv/app"))
	if got := describe(t, m.path("/persist/srv/app")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(m.path("/persist/srv/app/sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the holes were filled: %d blocks, %v", st.Blocks, err)
	}
}

// TestSeedingAcrossFileSystems seeds from a tmpfs, where no data can be shared.
func TestSeedingAcrossFileSystems(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv")
	if err := unix.Mount("tmpfs", m.path("/srv"), "tmpfs", 0, "size=64M"); err != nil {
		t.Fatal(err)
	}
	m.mkdir("/srv/app")
	btrfstest.Run(t, "sh", "-ec", `cd "$1"; truncate -s 10M sparse; printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none
head -c 3000000 /dev/urandom > random; touch -d @1000000000.25 random; mkdir sub; ln random sub/same; setfacl -m u:1001:r random`, "sh", m.path("/srv/app"))
	m.wantSeeded(t)
}

// TestSeedingToAnotherKindOfFileSystem leaves out what means something on btrfs only.
func TestSeedingToAnotherKindOfFileSystem(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv/app/nocow")
	btrfstest.Run(t, "sh", "-ec", `cd "$1"; chattr +C nocow; echo x > nocow/db; echo y > file; setfattr -n btrfs.compression -v zstd file`, "sh", m.path("/srv/app"))
	if err := unix.Mount("tmpfs", m.path("/persist"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	m.apply(dirEntry("/srv/app"))
	m.wantText("/persist/srv/app/nocow/db", "x\n")
	m.wantText("/persist/srv/app/file", "y\n")
}

// TestInheritedACLsAreNotSeeded copies into a parent whose default ACL would give the copy entries that the original lacks.
func TestInheritedACLsAreNotSeeded(t *testing.T) {
	m := newMachine(t)
	m.write("/srv/app/sub/file", "x")
	m.mkdir("/persist/srv")
	btrfstest.Run(t, "setfacl", "-m", "d:u:1001:rwx", m.path("/persist/srv"))
	want := describe(t, m.path("/srv/app"))
	m.apply(dirEntry("/srv/app"))
	if got := describe(t, m.path("/persist/srv/app")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestInheritedACLsOfFiles: nor does a file of its own get any, on its way to the volume, to its place, back, or from an old root.
func TestInheritedACLsOfFiles(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/srv/file", "x")
		btrfstest.Run(t, "mkfifo", m.path("/srv/fifo"))
	})
	for _, dir := range []string{"/srv", "/etc/app", "/persist/etc/app"} {
		m.mkdir(dir)
		btrfstest.Run(t, "setfacl", "-m", "d:u:1001:rwx", m.path(dir))
	}
	wantNone := func(p string) {
		t.Helper()
		if acl := btrfstest.Run(t, "getfacl", "--absolute-names", m.path(p)); strings.Contains(acl, "1001") {
			t.Errorf("%s has\n%s", p, acl)
		}
	}
	bound, copied := fileEntry("/etc/app/bound"), copyEntry("/etc/app/copied")
	for _, e := range []Entry{bound, copied} {
		m.write(e.Target, "x")
		btrfstest.Run(t, "setfacl", "--remove-all", m.path(e.Target))
	}
	m.apply(bound, copied)
	wantNone(bound.Source)
	wantNone(copied.Source)
	if err := os.Remove(m.path(copied.Target)); err != nil {
		t.Fatal(err)
	}
	m.apply(bound, copied)
	wantNone(copied.Target)
	m.restore(old, "/srv")
	wantNone("/srv/file")
	wantNone("/srv/fifo")
	if diff := cmp.Diff([]string{"same /srv/fifo", "same /srv/file"}, m.restore(old, "/srv")); diff != "" {
		t.Error(diff)
	}
}

func TestPlaceMirrorsTheSource(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/srv/app/file", "x")
	m.chown("/persist/srv/app", 50, 51, 0o2770)
	btrfstest.Run(t, "setfacl", "-m", "u:1001:rwx,d:u:1001:rwx", m.path("/persist/srv/app"))
	btrfstest.Run(t, "setfattr", "-n", "user.note", "-v", "1", m.path("/persist/srv/app"))
	facl := func(p string) string {
		return btrfstest.Run(t, "sh", "-c", `cd "$1" && getfacl . && getfattr -d .`, "sh", m.path(p))
	}
	e := dirEntry("/srv/app")
	m.apply(e)
	if err := Unmount(context.Background(), m.options(), []Entry{e}); err != nil {
		t.Fatal(err)
	}
	if got, want := facl("/srv/app"), facl("/persist/srv/app"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPlaceWithoutAttributes: a root that has no attributes shows what is kept all the same, with those that it has on its volume.
func TestPlaceWithoutAttributes(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv")
	if err := unix.Mount("ramfs", m.path("/srv"), "ramfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	entries := []Entry{dirEntry("/srv/app"), fileEntry("/srv/app.conf")}
	m.mkdir("/persist/srv/app")
	m.write("/persist/srv/app.conf", "x")
	for _, e := range entries {
		btrfstest.Run(t, "setfattr", "-n", "user.note", "-v", "1", m.path(e.Source))
	}
	m.apply(entries...)
	m.wantUnchanged(entries...)
}

// TestSeedingStopsAtMounts refuses to copy what holds another file system: bound over, it would be hidden.
func TestSeedingStopsAtMounts(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/srv/app/data")
	if err := unix.Mount("tmpfs", m.path("/srv/app/data"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	_, err := Apply(context.Background(), m.options(), []Entry{dirEntry("/srv/app")})
	if !errors.Is(err, ErrMountPoint) {
		t.Errorf("got %v", err)
	}
	m.wantMounted("/srv/app", false)
	m.wantOwner("/persist/srv/app", "absent")
}

// TestSeedingWhatAnotherLiesIn: when it can't be seeded, what lies in it does not make a source of it, which would keep it from
// being seeded for ever.
func TestSeedingWhatAnotherLiesIn(t *testing.T) {
	for name, run := range map[string]func(context.Context, *kernel, Options, []Entry) (Report, error){"apply": apply, "seed volume": seedVolume} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write("/srv/app/file", "x")
			m.write("/srv/app/sub/file", "y")
			m.mkdir("/srv/app/data")
			if err := unix.Mount("tmpfs", m.path("/srv/app/data"), "tmpfs", 0, ""); err != nil {
				t.Fatal(err)
			}
			entries := []Entry{dirEntry("/srv/app/sub"), dirEntry("/srv/app"), dirEntry("/srv/other")}
			report, err := run(t.Context(), &kernel{}, m.options(), entries)
			if !errors.Is(err, ErrMountPoint) || len(report.Results) != len(entries) {
				t.Errorf("got %+v, %v", report, err)
			}
			m.wantOwner("/persist/srv/app", "absent")
			m.wantText("/srv/app/sub/file", "y")
			btrfstest.Unmount(t, m.path("/srv/app/data"))
			if _, err := run(t.Context(), &kernel{}, m.options(), entries); err != nil {
				t.Error(err)
			}
			m.wantText("/persist/srv/app/file", "x")
			m.wantText("/persist/srv/app/sub/file", "y")
		})
	}
}

// TestSeedingAFullVolume: what does not fit is told, and the volume is not left full of what was copied before.
func TestSeedingAFullVolume(t *testing.T) {
	m := newMachine(t)
	m.write("/srv/app/small", "x")
	m.write("/srv/app/large", strings.Repeat("x", 8<<20))
	if err := unix.Mount("tmpfs", m.path("/persist"), "tmpfs", 0, "size=4M"); err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), m.options(), []Entry{dirEntry("/srv/app")}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	m.wantMounted("/srv/app", false)
	m.wantText("/srv/app/small", "x")
	if left := m.staged("/persist"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// TestSeedingWhatChanges changes something while it is copied: the copy is not taken for good.
func TestSeedingWhatChanges(t *testing.T) {
	const afterCopy = "sync file system of"
	for name, c := range map[string]struct{ call, change string }{
		"content":           {afterCopy, "echo two > log && touch -d 'now + 1 second' log"},
		"attribute":         {afterCopy, "setfattr -n trusted.other -v x log"},
		"attribute removed": {afterCopy, "setfattr -x trusted.note log"},
		"mode":              {afterCopy, "chmod 0600 log"},
		"symlink":           {afterCopy, "ln -sfn log2 link && touch -h -d @1 link"},
		"new":               {afterCopy, "echo two > second"},
		"removed":           {afterCopy, "rm log"},
		"kind":              {afterCopy, "rm log && mkdir log"},
		"shorter":           {"write", "truncate -s 0 log"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.mkdir("/srv")
			if err := unix.Mount("tmpfs", m.path("/srv"), "tmpfs", 0, ""); err != nil { // nothing can be shared
				t.Fatal(err)
			}
			m.write("/srv/app/log", strings.Repeat("one", 1<<20))
			m.symlink("log1", "/srv/app/link")
			btrfstest.Run(t, "touch", "-h", "-d", "@1", m.path("/srv/app/link"))
			btrfstest.Run(t, "setfattr", "-n", "trusted.note", "-v", "x", m.path("/srv/app/log"))
			k := &kernel{}
			k.hook = func(call, _ string) error {
				if call == c.call {
					k.hook = nil
					btrfstest.Run(t, "sh", "-ec", "cd \"$1\"; "+c.change, "sh", m.path("/srv/app"))
				}
				return nil
			}
			if _, err := apply(t.Context(), k, m.options(), []Entry{dirEntry("/srv/app")}); !errors.Is(err, ErrBusy) {
				t.Errorf("got %v", err)
			}
			m.wantOwner("/persist/srv/app", "absent")
			names, err := os.ReadDir(m.path("/persist/srv"))
			if err != nil || len(names) != 0 {
				t.Errorf("left %v, %v", names, err)
			}
			want := describe(t, m.path("/srv/app"))
			m.apply(dirEntry("/srv/app"))
			if got := describe(t, m.path("/persist/srv/app")); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestWhatIsStagedMayBeAMount: what an earlier run staged is cleared away, but not through a mount.
func TestWhatIsStagedMayBeAMount(t *testing.T) {
	m := newMachine(t)
	m.write("/srv/app/file", "x")
	m.mkdir("/persist/srv/.app.impermanence-new/sub")
	if err := unix.Mount("tmpfs", m.path("/persist/srv/.app.impermanence-new/sub"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	m.write("/persist/srv/.app.impermanence-new/sub/file", "precious")
	if _, err := Apply(t.Context(), m.options(), []Entry{dirEntry("/srv/app")}); !errors.Is(err, ErrMountPoint) {
		t.Errorf("got %v", err)
	}
	m.wantText("/persist/srv/.app.impermanence-new/sub/file", "precious")
}

// TestVolumeThatIsReadOnly: nothing can be noted on it, and what is on it is put in place.
func TestVolumeThatIsReadOnly(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/srv/app/file", "x")
	m.write("/srv/app/file", "x")
	if err := unix.Mount("", m.path("/persist"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m.apply(dirEntry("/srv/app"))
	m.wantMounted("/srv/app", true)
}

// TestVolumeThatCannotBeChanged: what is to be set or noted there and can't be does not keep what is kept from its place, and is told.
func TestVolumeThatCannotBeChanged(t *testing.T) {
	owned := fileEntry("/etc/app.conf")
	owned.Mode = bits(0o600)
	for name, row := range map[string]struct {
		e      Entry
		change func(m *machine)
		call   string
		want   State
	}{
		"owner, read-only": {e: owned, want: Drifted, change: func(m *machine) {
			if err := unix.Mount("", m.path("/persist"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				m.t.Fatal(err)
			}
		}},
		"owner, full": {e: owned, want: Drifted, call: "chmod"},
		"note, immutable": {e: fileEntry("/etc/app.conf"), want: InPlace, change: func(m *machine) {
			btrfstest.Run(m.t, "chattr", "+i", m.path(owned.Source))
			m.t.Cleanup(func() { btrfstest.Run(m.t, "chattr", "-i", m.path(owned.Source)) })
		}},
		"note, full": {e: fileEntry("/etc/app.conf"), want: InPlace, call: "set attribute trusted.impermanence.seed of"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write(owned.Source, "x")
			m.write(owned.Target, "x")
			m.chown(owned.Target, 50, 51, 0o640)
			if row.change != nil {
				row.change(m)
			}
			k := &kernel{hook: func(call, _ string) error {
				if call == row.call {
					return unix.ENOSPC
				}
				return nil
			}}
			report, err := apply(t.Context(), k, m.options(), []Entry{row.e})
			if got := report.Results[0]; got.State != row.want || (err != nil) != (row.want == Drifted) {
				t.Errorf("got %+v, %v", got, err)
			}
			m.wantMounted(owned.Target, true)
		})
	}
}

// TestRemovedLinkWasReplaced: a program that puts a file in place of the symlink, between the look and its removal, loses nothing.
func TestRemovedLinkWasReplaced(t *testing.T) {
	for _, method := range []Method{Bind, Copy} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			e := fileEntry("/etc/app.conf")
			e.Method = method
			m.write(e.Source, "kept")
			m.symlink(e.Source, e.Target)
			replace := sync.OnceFunc(func() {
				m.write("/etc/new", "mine")
				if err := os.Rename(m.path("/etc/new"), m.path(e.Target)); err != nil {
					t.Error(err)
				}
			})
			k := &kernel{hook: func(string, string) error { replace(); return nil }}
			report, err := apply(context.Background(), k, m.options(), []Entry{e})
			if err == nil || !errors.Is(report.Results[0].Err, ErrBusy) {
				t.Errorf("got %+v, %v", report, err)
			}
			m.wantText(e.Target, "mine")
			m.wantNothingAside(e.Target)
		})
	}
}
