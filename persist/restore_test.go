package persist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// newRestorable makes a machine that has been booted twice: old fills its first root, which is at the path that is returned.
func newRestorable(t testing.TB, old func(m *machine)) (*machine, string) {
	t.Helper()
	m := newMachine(t)
	old(m)
	m.boot()
	top := filepath.Join(filepath.Dir(m.root), "top")
	btrfstest.Mount(t, m.device, top, "subvolid=5")
	return m, filepath.Join(top, "root1")
}

// restore brings paths back to where they were, and returns a line for each result.
func (m *machine) restore(from string, paths ...string) []string {
	m.t.Helper()
	r := Restoration{Sysroot: m.root, From: from}
	for _, p := range paths {
		r.Items = append(r.Items, RestoreItem{p, p})
	}
	return m.restoreAs(r)
}

func (m *machine) restoreAs(r Restoration) []string {
	m.t.Helper()
	var lines []string
	err := Restore(m.t.Context(), r, func(r RestoreResult) { lines = append(lines, describeRestored(r)) })
	if err != nil {
		m.t.Fatal(err)
	}
	return lines
}

func describeRestored(r RestoreResult) string {
	line := fmt.Sprintf("%s %s", r.Action, r.Target)
	if r.Entries > 1 {
		line += fmt.Sprintf(" (%d)", r.Entries)
	}
	if r.Aside != "" {
		line += " aside " + r.Aside
	}
	if r.Err != nil {
		line += ": " + r.Err.Error()
	}
	return line
}

// wantSame has rsync compare two trees in all it knows: content, owners, modes, times, ACLs, attributes, hard links, devices.
func wantSame(t testing.TB, a, b string, options ...string) {
	t.Helper()
	args := []string{"-aHAXx", "--numeric-ids", "--checksum", "--delete", "--dry-run", "--itemize-changes"}
	args = append(args, options...)
	out, err := exec.Command("rsync", append(args, a, b)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%s and %s differ: %v\n%s", a, b, err, out)
	}
}

// everything is a tree with all that a file system can hold.
func everything(m *machine) {
	m.write("/home/demo/notes", "precious")
	m.write("/home/demo/deep/er/file", strings.Repeat("data", 100_000))
	m.write("/home/demo/deep/name\nwith\xffbytes", "x")
	m.symlink("/nowhere/at/all", "/home/demo/dangling")
	for _, args := range [][]string{
		{"ln", "/home/demo/notes", "/home/demo/deep/linked"},
		{"truncate", "-s", "8M", "/home/demo/sparse"},
		{"mkfifo", "/home/demo/fifo"},
		{"mknod", "/home/demo/null", "c", "1", "3"},
		{"setfacl", "-m", "u:1001:r", "/home/demo/notes"},
		{"setfacl", "-d", "-m", "u:1001:rwx", "/home/demo/deep"},
		{"setfattr", "-n", "user.mime", "-v", "text/plain", "/home/demo/notes"},
		{"setfattr", "-n", "trusted.note", "-v", "x", "/home/demo/deep"},
		{"chown", "-R", "-h", "1000:100", "/home/demo"},
		{"chmod", "4755", "/home/demo/deep/er/file"},
		{"chmod", "0700", "/home/demo"},
		{"touch", "-h", "-d", "2001-02-03 04:05:06.789", "/home/demo/dangling", "/home/demo/notes", "/home/demo/sparse", "/home/demo/deep"},
	} {
		for i, arg := range args {
			if strings.HasPrefix(arg, "/home/") {
				args[i] = m.path(arg)
			}
		}
		btrfstest.Run(m.t, args[0], args[1:]...)
	}
}

func TestRestoreBringsEverythingBack(t *testing.T) {
	m, old := newRestorable(t, everything)
	want := []string{"restored /home/demo (11)"}
	if diff := cmp.Diff(want, m.restore(old, "/home/demo")); diff != "" {
		t.Error(diff)
	}
	wantSame(t, old+"/home/", m.path("/home")+"/", "--omit-dir-times") // /home is made anew
	wantSame(t, old+"/home/demo/", m.path("/home/demo")+"/")
	if shared := btrfstest.Run(t, "filefrag", "-v", m.path("/home/demo/deep/er/file")); !strings.Contains(shared, "shared") {
		t.Errorf("the data was copied, not shared:\n%s", shared)
	}
	if left := m.staged("/"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// What is no file and restored by itself can't be synced by itself.
func TestRestoreOneSpecialFile(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.mkdir("/srv")
		btrfstest.Run(m.t, "mkfifo", m.path("/srv/fifo"))
		btrfstest.Run(m.t, "mknod", m.path("/srv/null"), "c", "1", "3")
		btrfstest.Run(m.t, "mknod", m.path("/srv/none"), "c", "240", "77")
		m.symlink("/nowhere", "/srv/link")
	})
	m.mkdir("/srv")
	for _, p := range []string{"/srv/fifo", "/srv/null", "/srv/none", "/srv/link"} {
		if diff := cmp.Diff([]string{"restored " + p}, m.restore(old, p)); diff != "" {
			t.Error(diff)
		}
	}
}

// What is restored twice is there once, and nothing is kept aside for it.
func TestRestoreTwice(t *testing.T) {
	m, old := newRestorable(t, everything)
	m.restore(old, "/home/demo")
	before := btrfstest.Run(t, "find", m.root, "-printf", "%p %i %T@ %C@\n")
	for _, line := range m.restore(old, "/home/demo") {
		if !strings.HasPrefix(line, "same ") {
			t.Errorf("the second time: %s", line)
		}
	}
	if diff := cmp.Diff(before, btrfstest.Run(t, "find", m.root, "-printf", "%p %i %T@ %C@\n")); diff != "" {
		t.Errorf("the second time changed: %s", diff)
	}
}

// What differs is kept aside, and what only the new root has stays.
func TestRestoreKeepsAside(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/etc/app/config", "old")
		m.write("/etc/app/same", "same")
		m.write("/etc/app/sub/inner", "old")
		m.write("/etc/app/kind", "a file")
		m.write("/etc/app/gone", "only here")
		m.write("/etc/app/link", "a file")
	})
	m.write("/etc/app/config", "new")
	m.write("/etc/app/config.impermanence-conflict", "an earlier one")
	m.write("/etc/app/same", "same")
	m.write("/etc/app/sub/inner", "new")
	m.write("/etc/app/sub/young", "only there")
	m.write("/etc/app/kind/now", "a directory")
	m.symlink("/etc/passwd", "/etc/app/link")
	m.chown("/etc/app", 0, 50, 0o711)
	want := []string{
		"same /etc/app/same",
		"replaced /etc/app/config aside /etc/app/config.impermanence-conflict-2",
		"restored /etc/app/gone",
		"replaced /etc/app/kind aside /etc/app/kind.impermanence-conflict",
		"replaced /etc/app/link aside /etc/app/link.impermanence-conflict",
		"replaced /etc/app/sub/inner aside /etc/app/sub/inner.impermanence-conflict",
	}
	dry := m.restoreAs(Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/etc/app", "/etc/app"}}, DryRun: true})
	wantDry := []string{"replaced /etc/app/config", "restored /etc/app/gone", "replaced /etc/app/kind", "replaced /etc/app/link", "same /etc/app/same", "replaced /etc/app/sub/inner"}
	if diff := cmp.Diff(wantDry, dry); diff != "" {
		t.Errorf("dry run: %s", diff)
	}
	m.wantText("/etc/app/config", "new") // nothing was done
	if diff := cmp.Diff(want, m.restore(old, "/etc/app")); diff != "" {
		t.Error(diff)
	}
	for p, text := range map[string]string{
		"config": "old", "config.impermanence-conflict": "an earlier one", "config.impermanence-conflict-2": "new", "gone": "only here",
		"sub/inner": "old", "sub/inner.impermanence-conflict": "new", "sub/young": "only there", "kind": "a file",
		"kind.impermanence-conflict/now": "a directory", "link": "a file",
	} {
		m.wantText("/etc/app/"+p, text)
	}
	m.wantOwner("/etc/app", "0:50 0711") // a directory that is there stays what it is
	if link, err := os.Readlink(m.path("/etc/app/link.impermanence-conflict")); link != "/etc/passwd" {
		t.Errorf("the link is kept aside as %q, %v", link, err)
	}
}

// Directories on the way are made as they were.
func TestRestoreMakesParents(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/srv/a/b/c/file", "x")
		m.chown("/srv/a", 1000, 100, 0o750)
		m.chown("/srv/a/b", 1001, 50, 0o2775)
	})
	if got := m.restore(old, "/srv/a/b/c/file"); got[0] != "restored /srv/a/b/c/file" {
		t.Error(got)
	}
	m.wantOwner("/srv/a", "1000:100 0750")
	m.wantOwner("/srv/a/b", "1001:50 2775")
	m.wantOwner("/srv/a/b/c", "0:0 0755")
	if _, err := os.Stat(m.path("/srv/a/b/c/file")); err != nil {
		t.Error(err)
	}
	got := m.restoreAs(Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv/a", "/tmp/new/copy"}, {"/", "/whole"}}})
	if diff := cmp.Diff([]string{"restored /tmp/new/copy (4)", "restored /whole (10)"}, got); diff != "" {
		t.Error(diff)
	}
	wantSame(t, old+"/srv/a/", m.path("/tmp/new/copy")+"/")
	wantSame(t, old+"/", m.path("/whole")+"/")
}

// A symlink that a user can make leads nowhere, on either side; root's own does.
// TestRestoreMakesParentsWithTheirACLs: a directory that is made on the way has the ACLs that it had, and none of the one that it is made in.
func TestRestoreMakesParentsWithTheirACLs(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) { m.write("/srv/sub/deep/file", "x") })
	m.mkdir("/srv")
	btrfstest.Run(t, "setfacl", "-m", "d:u:1001:rwx", m.path("/srv"))
	m.restore(old, "/srv/sub/deep/file")
	wantSame(t, old+"/srv/sub/", m.path("/srv/sub")+"/", "--omit-dir-times")
}

func TestRestoreFollowsNoUsersLink(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/srv/victim/file", "old")
		m.symlink("../srv", "/var/alias")
		m.mkdir("/home/demo")
		m.symlink("/srv/victim", "/home/demo/way")
		m.write("/home/demo/dir/file", "x")
		m.chown("/home/demo", 1000, 100, 0o755)
		lchown(m, "/home/demo/way", 1000, 100)
	})
	m.mkdir("/home/demo")
	m.mkdir("/srv/elsewhere")
	m.symlink("/srv/elsewhere", "/home/demo/dir")
	m.chown("/home/demo", 1000, 100, 0o755)
	lchown(m, "/home/demo/dir", 1000, 100)
	for _, p := range []string{"/home/demo/way/file", "/home/demo/dir/file"} {
		var results []RestoreResult
		err := Restore(t.Context(), Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{p, p}}}, func(r RestoreResult) { results = append(results, r) })
		if err != nil || len(results) != 1 || results[0].Action != NotDone || !errors.Is(results[0].Err, ErrUnsafePath) {
			t.Errorf("%s: %+v, %v", p, results, err)
		}
	}
	if names, err := os.ReadDir(m.path("/srv/elsewhere")); err != nil || len(names) > 0 {
		t.Errorf("something was put behind a user's link: %v, %v", names, err)
	}
	// A tree that has links takes them as they are.
	want := []string{"replaced /home/demo/dir (2) aside /home/demo/dir.impermanence-conflict", "restored /home/demo/way"}
	if diff := cmp.Diff(want, m.restore(old, "/home/demo")); diff != "" {
		t.Error(diff)
	}
	if got := m.restoreAs(Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/var/alias/victim/file", "/root/file"}}}); got[0] != "restored /root/file" {
		t.Error(got)
	}
}

func lchown(m *machine, p string, uid, gid int) {
	m.t.Helper()
	if err := os.Lchown(m.path(p), uid, gid); err != nil {
		m.t.Fatal(err)
	}
}

func TestRestoreOntoMounts(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/var/log/journal/x", "old")
		m.write("/var/log/same", "same")
		m.write("/etc/machine-id", "old")
		m.mkdir("/mnt/other")
		m.write("/mnt/other/file", "old")
	})
	m.write("/persist/var/log/same", "same")
	m.write("/persist/etc/machine-id", "new")
	m.apply(dirEntry("/var/log"), fileEntry("/etc/machine-id"))
	btrfstest.Run(t, "mount", "--mkdir", "-t", "tmpfs", "tmpfs", m.path("/mnt/other"))
	got := m.restore(old, "/var/log", "/etc/machine-id", "/mnt/other")
	want := []string{
		"same /var/log/same",
		"restored /var/log/journal (2)",
		"failed /etc/machine-id: machine-id: another file system is mounted there",
		"restored /mnt/other/file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	m.wantText("/persist/var/log/journal/x", "old") // on the entry, and so kept
	m.wantText("/etc/machine-id", "new")
	m.wantText("/mnt/other/file", "old")
}

func TestRestoreWhatIsNotThere(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) { m.write("/etc/file", "x") })
	got := m.restoreAs(Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{
		{"/etc/nothing", "/etc/nothing"}, {"/no/way", "/no/way"}, {"/etc/file", "/"}, {"etc/file", "/x"}, {"/etc/file", "/etc/file"},
	}})
	want := []string{
		"failed /etc/nothing: source does not exist in the old root",
		"failed /no/way: source does not exist in the old root",
		"failed /: /etc/file is put in the place of the root: not of the configured kind",
		`failed /x: "etc/file": invalid entry: not absolute`,
		"restored /etc/file",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Lstat(m.path("/no")); err == nil {
		t.Error("a directory was made for what is not there")
	}
}

// A canceled run leaves nothing staged, and what it has put in place is complete.
func TestRestoreIsCanceled(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		for i := range 20 {
			m.write(fmt.Sprintf("/srv/%02d/a", i), "a")
			m.write(fmt.Sprintf("/srv/%02d/b", i), "b")
		}
	})
	m.mkdir("/srv")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv/00", "/srv/00"}, {"/srv", "/srv"}}, Progress: func(n uint64) {
		if n == 30 {
			cancel()
		}
	}}
	var results []string
	err := Restore(ctx, r, func(r RestoreResult) { results = append(results, describeRestored(r)) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"restored /srv/00 (3)"}, results); diff != "" {
		t.Error(diff)
	}
	if left := btrfstest.Run(t, "ls", "-A", m.path("/srv")); left != "00\n" {
		t.Errorf("left: %s", left)
	}
}

// More names than go at once in one directory are put back in several goes.
func TestRestoreManyNames(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.mkdir("/srv/many")
		for i := range maxBatch + 100 {
			if err := os.WriteFile(m.path(fmt.Sprintf("/srv/many/%05d", i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	m.write("/srv/many/00000", "in the way")
	if got := m.restore(old, "/srv/many"); len(got) != maxBatch+100 {
		t.Errorf("%d results", len(got))
	}
	wantSame(t, old+"/srv/many/", m.path("/srv/many")+"/", "--omit-dir-times", "--exclude=*.impermanence-conflict")
	m.wantText("/srv/many/00000.impermanence-conflict", "in the way")
}

// After a crash at any call that changes something, nothing is lost and nothing looks restored that isn't complete; the next
// run completes. And when one call fails and the others work, that is told, too.
func TestRestoreCrashes(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/d/tree/sub/file", "precious")
		btrfstest.Run(t, "ln", m.path("/d/tree/sub/file"), m.path("/d/tree/second"))
		m.write("/d/changed", "former")
		m.write("/d/same", "same")
	})
	for _, forever := range []bool{true, false} {
		for n := 1; ; n++ {
			target := fmt.Sprintf("/%t/%03d/place", forever, n)
			m.write(target+"/changed", "latest")
			m.write(target+"/same", "same")
			calls, last := 0, ""
			k := &kernel{hook: func(call, object string) error {
				calls++
				if calls == n {
					last = call + " " + object
				}
				if calls == n || forever && calls > n {
					return errCrash
				}
				return nil
			}}
			r := Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/d", target}}}
			failed := false
			err := restore(t.Context(), k, r, func(r RestoreResult) { failed = failed || r.Err != nil })
			if calls < n {
				break
			}
			harmless := strings.HasPrefix(last, "remove attribute") || strings.HasPrefix(last, "reflink") || strings.HasPrefix(last, "copy ")
			if err == nil && !failed && !harmless {
				t.Errorf("call %d (%s) failed and that was not told", n, last)
			}
			m.wantRestoredOrNot(target, last)
			m.restoreAs(r)
			m.wantText(target+"/tree/sub/file", "precious")
			m.wantText(target+"/tree/second", "precious")
			m.wantText(target+"/changed", "former")
			if found := m.tokensBelow(target); !strings.Contains(found, "latest") {
				t.Errorf("after a crash at %s what stood in the way is lost: %s", last, found)
			}
			if left := m.staged(target); left != "" {
				t.Errorf("after a crash at %s and another run, this is left: %s", last, left)
			}
		}
	}
}

// wantRestoredOrNot holds that what has its name is complete.
func (m *machine) wantRestoredOrNot(target, last string) {
	m.t.Helper()
	if got := m.read(target + "/changed"); got != "former" && got != "latest" {
		m.t.Errorf("after a crash at %s there is %q", last, got)
	}
	if _, err := os.Lstat(m.path(target + "/tree")); err == nil {
		m.wantText(target+"/tree/sub/file", "precious")
		m.wantText(target+"/tree/second", "precious")
	}
	if found := m.tokensBelow(target); !strings.Contains(found, "latest") {
		m.t.Errorf("after a crash at %s what stood in the way is lost: %s", last, found)
	}
}

// What changes while it is replaced, and is then removed, can't be put back: it stays aside.
func TestRestoreOverWhatChanges(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) { m.write("/srv/file", "old") })
	m.write("/srv/file", "there")
	var results []RestoreResult
	k := &kernel{hook: m.changesWhileReplaced("/srv/file")}
	err := restore(t.Context(), k, Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv/file", "/srv/file"}}},
		func(r RestoreResult) { results = append(results, r) })
	if err != nil || len(results) != 1 || !errors.Is(results[0].Err, ErrBusy) {
		t.Errorf("%+v, %v", results, err)
	}
	m.wantText("/srv/file.impermanence-conflict", "by a program")
}

// changesWhileReplaced is a program that writes a file before it is exchanged for another one, and removes what is there then.
func (m *machine) changesWhileReplaced(p string) func(call, object string) error {
	renames := 0
	return func(call, _ string) error {
		if call != "rename" {
			return nil
		}
		switch renames++; renames {
		case 1:
			m.write(p, "by a program")
			later := time.Now().Add(time.Second)
			return os.Chtimes(m.path(p), later, later)
		case 3:
			return os.Remove(m.path(p))
		}
		return nil
	}
}

// A file that was to be a hard link to one in a tree that could not be restored is restored by itself; what else is linked stays so.
func TestRestoreLinksToWhatFailed(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) {
		m.write("/srv/a/file", "precious")
		m.write("/srv/a/unreadable", "x")
		m.mkdir("/srv/b")
		for _, name := range []string{"/srv/b/file", "/srv/c"} {
			btrfstest.Run(t, "ln", m.path("/srv/a/file"), m.path(name))
		}
	})
	m.mkdir("/srv")
	k := &kernel{hook: func(call, object string) error {
		if call == "create" && object == "unreadable" {
			return syscall.EIO
		}
		return nil
	}}
	var lines []string
	err := restore(t.Context(), k, Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv", "/srv"}}},
		func(r RestoreResult) { lines = append(lines, describeRestored(r)) })
	want := []string{"failed /srv/a: a/create unreadable: input/output error", "restored /srv/b (2)", "restored /srv/c"}
	if diff := cmp.Diff(want, lines); diff != "" || err != nil {
		t.Error(err, diff)
	}
	wantSame(t, old+"/srv/", m.path("/srv")+"/", "--omit-dir-times", "--exclude=/a")
}

// A full disk is told, what is there stays, and nothing is left staged.
func TestRestoreToAFullDisk(t *testing.T) {
	m, old := newRestorable(t, func(m *machine) { m.write("/srv/big", strings.Repeat("x", 8<<20)) })
	btrfstest.Run(t, "mount", "--mkdir", "-t", "tmpfs", "-o", "size=1M", "tmpfs", m.path("/mnt"))
	m.write("/mnt/big", "there")
	var results []RestoreResult
	err := Restore(t.Context(), Restoration{Sysroot: m.root, From: old, Items: []RestoreItem{{"/srv/big", "/mnt/big"}}},
		func(r RestoreResult) { results = append(results, r) })
	if err != nil || len(results) != 1 || !errors.Is(results[0].Err, syscall.ENOSPC) {
		t.Errorf("%+v, %v", results, err)
	}
	m.wantText("/mnt/big", "there")
	if left := m.staged("/mnt"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
