package persist

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// What users of the modules complained of, by upstream number (# is nix-community/impermanence). Others have their tests where
// their subject is: #169, #315 TestConflictIsReportedAndKept; #101, #197 TestHostKeysOfSSH; #120 TestPasswd; #137, #186
// TestAdoptAndForget; #147, #317 TestFileManagersSeeTheOptions; #149, preservation#5 TestEntryBelowAnother; #212, #228
// TestOrphans; #74, #254, #298 TestDirectoriesAreBound and TestPrivateDirectoryOfServices; #229, #242 TestFiles; #10, #108
// TestPresetsKeepWhatEverybodyListed of daemon/config; #240 and #258 the stories diff.txtar and restore.txtar of cmd/impermanence.

// TestSomethingIsInTheWay: "A file already exists at …" (#79, #119, #122, #235, #270).
func TestSomethingIsInTheWay(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/etc/a", "kept a")
	m.write("/persist/etc/b", "kept b")
	m.write("/persist/etc/c", "kept c")
	m.write("/etc/a", "")                  // an empty file
	m.symlink("/nix/store/gone", "/etc/b") // a dangling symlink elsewhere
	m.write("/etc/c", "kept c")            // the same
	m.write("/etc/d", "only here")         // something, and nothing kept yet
	entries := []Entry{fileEntry("/etc/a"), fileEntry("/etc/b"), fileEntry("/etc/c"), fileEntry("/etc/d")}
	m.apply(entries...)
	m.wantText("/etc/a", "kept a")
	m.wantText("/etc/b", "kept b")
	m.wantText("/etc/c", "kept c")
	m.wantText("/persist/etc/d", "only here")
	m.wantUnchanged(entries...)
}

// TestProgramsThatRename: EBUSY for a program that replaces a bound file by rename, as gdb and wpa_supplicant do (#175), and
// GNOME with monitors.xml (#147). Copied, the file can be replaced, and is kept.
func TestProgramsThatRename(t *testing.T) {
	m := newMachine(t)
	bound, copied := homeEntry(File, ".config/bound.xml"), homeEntry(File, ".config/monitors.xml")
	bound.Method, copied.Method = Bind, Copy
	m.write(bound.Source, "old")
	m.write(copied.Source, "old")
	m.apply(bound, copied)
	replace := func(e Entry) error {
		m.write(e.Target+".new", "new")
		return os.Rename(m.path(e.Target+".new"), m.path(e.Target))
	}
	if err := replace(bound); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a bound file could be replaced: %v", err)
	}
	c := m.copyBack(time.Hour, bound, copied)
	if err := replace(copied); err != nil {
		t.Error(err)
	}
	c.stop()
	m.boot()
	m.apply(bound, copied)
	m.wantText(copied.Target, "new")
}

// TestNumbersOfUsersChange: files that belong to somebody else after users were added or removed (#114). Owners are configured
// by name, and follow the root that is being booted.
func TestNumbersOfUsersChange(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	e.User, e.Group = "log", "log"
	m.apply(e)
	m.wantOwner("/srv/app", "50:51 0755")
	m.boot()
	m.write("/etc/passwd", strings.ReplaceAll(passwd, "log:x:50:51", "log:x:60:61"))
	m.write("/etc/group", strings.ReplaceAll(group, "log:x:51", "log:x:61"))
	m.apply(e)
	m.wantOwner("/srv/app", "60:61 0755")
}

// TestUsersThatAreKeptThemselves: users are read from where they are kept when the fresh root has other ones (#114, #120).
func TestUsersThatAreKeptThemselves(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/etc/passwd", strings.ReplaceAll(passwd, "demo:x:1000:100::/home/demo", "demo:x:1234:100::/people/demo"))
	e := homeEntry(Directory, "Documents")
	passwdEntry := copyEntry("/etc/passwd")
	if _, err := Apply(context.Background(), m.options(), []Entry{e, passwdEntry}); err != nil && !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	m.wantOwner("/people/demo", "1234:100 0700")
	m.wantOwner("/people/demo/Documents", "1234:100 0755")
	m.wantOwner("/persist/people/demo/Documents", "1234:100 0755")
}

// TestUsersInADirectoryThatIsKept: so they are when the whole directory is kept that they are in, and is not in place yet.
func TestUsersInADirectoryThatIsKept(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/etc/passwd", strings.ReplaceAll(passwd, "demo:x:1000:100::/home/demo", "demo:x:1234:100::/people/demo"))
	m.write("/persist/etc/group", group)
	entries := []Entry{homeEntry(Directory, "Documents"), dirEntry("/etc")}
	if _, err := Apply(t.Context(), m.options(), entries); err != nil && !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	m.wantOwner("/people/demo/Documents", "1234:100 0755")
}

// TestTheRootKeepsItsOwner: / became a user's (#230, #295). Neither it nor a mount point is touched, whatever is configured
// for a parent.
func TestTheRootKeepsItsOwner(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/home")
	btrfstest.Mount(t, m.device, m.path("/home"), "subvol=root1")
	e, inHome := fileEntry("/file"), dirEntry("/home/shared")
	e.Method = Bind
	e.Parent = Ownership{User: "demo", Mode: bits(0o700)}
	inHome.Parent = e.Parent
	m.apply(e, inHome)
	m.wantOwner("/", "0:0 0755")
	m.wantOwner("/persist", "0:0 0755")
	m.wantOwner("/home", "0:0 0755")
}

// TestOneBusyMount: a shutdown that fails at a busy /var/log (#17, #21). The others are unmounted all the same.
func TestOneBusyMount(t *testing.T) {
	m := newMachine(t)
	entries := []Entry{dirEntry("/srv/a"), dirEntry("/var/log"), dirEntry("/srv/z")}
	m.apply(entries...)
	m.write("/var/log/open", "x")
	f, err := os.Open(m.path("/var/log/open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Unmount(context.Background(), m.options(), entries); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	m.wantMounted("/srv/a", false)
	m.wantMounted("/srv/z", false)
	m.wantMounted("/var/log", true)
}

// TestUnmountLeavesOthersMounts: what somebody else has mounted in a place is not an entry's to take away.
func TestUnmountLeavesOthersMounts(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/app")
	m.apply(e)
	if err := unix.Mount("tmpfs", m.path(e.Target), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	m.write("/srv/app/file", "of somebody")
	if err := Unmount(t.Context(), m.options(), []Entry{e}); err != nil {
		t.Error(err)
	}
	m.wantText("/srv/app/file", "of somebody")
}

// TestTrimmedOnce: fstrim trimmed a file system once for each thing that was bound from it (#76). Ours are in no fstab, and what
// fstrim.service lists of the mounts there are is each file system once.
func TestTrimmedOnce(t *testing.T) {
	m := newMachine(t)
	m.apply(dirEntry("/srv/a"), dirEntry("/srv/b"), dirEntry("/var/log"))
	unit := btrfstest.Run(t, "sh", "-c", "cat /usr/lib/systemd/system/fstrim.service || cat /lib/systemd/system/fstrim.service")
	_, listed, found := strings.Cut(unit, "--listed-in ")
	if !found {
		t.Fatalf("fstrim.service lists no mounts:\n%s", unit)
	}
	listed, _, _ = strings.Cut(listed, " ")
	out := btrfstest.Run(t, "fstrim", "--listed-in", listed, "--dry-run", "--verbose", "--quiet-unsupported")
	if got := strings.Count(out, m.root); got != 1 {
		t.Errorf("trimmed %d times:\n%s", got, out)
	}
}

// TestSecretsBeforeUsers: keys of hosts and what decrypts secrets are needed before there are users and before anything of the new
// root has run (#192, #282, #301; sops-nix#167, agenix#219). The initrd puts them in place in a root that has no passwd file yet;
// ssh-keygen reads the key there.
func TestSecretsBeforeUsers(t *testing.T) {
	for _, method := range []Method{Auto, Bind, Copy} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			key, secrets := fileEntry("/etc/ssh/ssh_host_ed25519_key"), dirEntry("/var/lib/sops-nix")
			key.Method, key.User, key.Mode = method, "root", bits(0o600)
			secrets.User, secrets.Group, secrets.Mode = "root", "root", bits(0o700)
			m.mkdir("/persist/etc/ssh")
			btrfstest.Run(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", m.path(key.Source))
			m.write(secrets.Source+"/key.txt", "AGE-SECRET-KEY-1")
			m.chown(secrets.Source, 0, 0, 0o700)
			m.chown(secrets.Source+"/key.txt", 0, 0, 0o400)
			public := m.read(key.Source + ".pub")
			for _, file := range []string{"/etc/passwd", "/etc/group"} {
				if err := os.Remove(m.path(file)); err != nil {
					t.Fatal(err)
				}
			}
			m.apply(key, secrets)
			if got := btrfstest.Run(t, "ssh-keygen", "-y", "-f", m.path(key.Target)); strings.TrimSpace(got) != strings.TrimSpace(public) {
				t.Errorf("got %q, want %q", got, public)
			}
			m.wantOwner(key.Target, "0:0 0600")
			m.wantText(secrets.Target+"/key.txt", "AGE-SECRET-KEY-1")
			m.wantOwner(secrets.Target, "0:0 0700")
			m.wantOwner(secrets.Target+"/key.txt", "0:0 0400")
			m.wantUnchanged(key, secrets)
		})
	}
}
