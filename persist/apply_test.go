package persist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestDirectoriesAreBound(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/var/log/journal/x", "kept")
	m.chown("/persist/var/log", 0, 51, 0o2775)
	entries := []Entry{dirEntry("/var/log"), dirEntry("/var/lib/nixos"), homeEntry(Directory, ".local/share/app")}
	m.apply(entries...)
	m.wantText("/var/log/journal/x", "kept")
	m.wantOwner("/var/log", "0:51 2775")
	m.wantOwner("/var/lib/nixos", "0:0 0755")
	m.wantOwner("/home", "0:0 0755")
	m.wantOwner("/home/demo", "1000:100 0700")
	m.wantOwner("/home/demo/.local", "1000:100 0755")
	m.wantOwner("/persist/home/demo", "1000:100 0700")
	m.wantOwner("/persist/home/demo/.local/share/app", "1000:100 0755")
	m.wantUnchanged(entries...)
	if err := Unmount(context.Background(), m.options(), entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		m.wantMounted(e.Target, false)
	}
	m.wantOwner("/var/log", "0:51 2775") // the place mirrors its source
	m.boot()
	m.apply(entries...)
	m.wantText("/var/log/journal/x", "kept")
}

// A set-group-id directory gives its group and its bit to a directory made in it; what the source has counts.
func TestPlaceInASetGroupIDDirectory(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/persist/srv/team/data")
	m.mkdir("/srv/team")
	m.chown("/srv/team", 0, 51, 0o2775)
	m.apply(dirEntry("/srv/team/data"))
	if err := Unmount(context.Background(), m.options(), []Entry{dirEntry("/srv/team/data")}); err != nil {
		t.Fatal(err)
	}
	m.wantOwner("/srv/team/data", "0:0 0755")
}

func TestFiles(t *testing.T) {
	m := newMachine(t)
	m.write("/persist/etc/adjtime", "here")
	secret := fileEntry("/var/keys/secret_file")
	secret.Parent.Mode = bits(0o700)
	entries := []Entry{fileEntry("/etc/machine-id"), fileEntry("/etc/adjtime"), secret, homeEntry(File, ".screenrc")}
	m.apply(entries...)
	m.wantText("/etc/machine-id", uninitialized)
	m.wantOwner("/etc/machine-id", "0:0 0444")
	m.wantMounted("/etc/machine-id", true)
	m.wantText("/etc/adjtime", "here")
	m.wantOwner("/var/keys", "0:0 0700")
	m.wantOwner("/persist/var/keys", "0:0 0700")
	if got, err := os.Readlink(m.path("/var/keys/secret_file")); err != nil || got != "/persist/var/keys/secret_file" {
		t.Errorf("got %q, %v", got, err)
	}
	m.wantOwner("/home/demo/.screenrc", "1000:100 0777")
	m.wantUnchanged(entries...)
	m.write("/persist/var/keys/secret_file", "through the symlink") // what a program does
	m.wantUnchanged(entries...)
	m.boot()
	m.apply(entries...)
	m.wantText("/var/keys/secret_file", "through the symlink")
	m.wantMounted("/var/keys/secret_file", true)
}

func TestOwnersAreKeptAsConfigured(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/data")
	e.User, e.Group, e.Mode = "demo", "adm", bits(0o2750)
	e.Parent = Ownership{User: "log", Mode: bits(0o711)}
	m.apply(e)
	m.wantOwner("/srv/data", "1000:4 2750")
	m.wantOwner("/srv", "50:51 0711")
	m.chown("/persist/srv/data", 0, 0, 0o755)
	m.wantStates(Drifted, e)
	m.apply(e)
	m.wantOwner("/srv/data", "1000:4 2750")
	m.wantUnchanged(e)
}

func TestOwnersThatAreNotConfiguredAreLeft(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/data")
	m.apply(e)
	m.chown("/srv/data", 50, 4, 0o1777)
	m.wantUnchanged(e)
	m.wantOwner("/persist/srv/data", "50:4 1777")
}

func TestPrivateDirectoryOfServices(t *testing.T) {
	m := newMachine(t)
	m.apply(dirEntry("/var/lib/private/service"))
	m.wantOwner("/var/lib/private", "0:0 0700")
	m.wantOwner("/persist/var/lib/private", "0:0 0700")
	m.wantOwner("/var/lib", "0:0 0755")
}

func TestSeedingFromWhatIsThere(t *testing.T) {
	m := newMachine(t)
	m.write("/var/lib/app/data", "old")
	m.chown("/var/lib/app", 50, 51, 0o750)
	m.write("/etc/app.conf", "setting")
	entries := []Entry{dirEntry("/var/lib/app"), fileEntry("/etc/app.conf")}
	m.apply(entries...)
	m.wantText("/persist/var/lib/app/data", "old")
	m.wantOwner("/persist/var/lib/app", "50:51 0750")
	m.wantText("/persist/etc/app.conf", "setting")
	m.wantMounted("/etc/app.conf", true)
	m.write("/var/lib/app/data", "new")
	m.wantUnchanged(entries...)
	m.boot()
	m.apply(entries...)
	m.wantText("/var/lib/app/data", "new")
}

func TestConflictIsReportedAndKept(t *testing.T) {
	m := newMachine(t)
	m.write("/var/lib/app/only-here", "mine")
	m.write("/persist/var/lib/app/data", "kept")
	e := dirEntry("/var/lib/app")
	m.wantStates(Conflict, e)
	report, err := Apply(context.Background(), m.options(), []Entry{e})
	if !errors.Is(err, ErrConflict) || report.Results[0].State != Conflict {
		t.Errorf("got %v, %+v", err, report)
	}
	m.wantText("/var/lib/app/data", "kept")
	m.wantStates(Conflict, e) // as long as something is hidden
	if err := Unmount(context.Background(), m.options(), []Entry{e}); err != nil {
		t.Fatal(err)
	}
	m.wantText("/var/lib/app/only-here", "mine")
}

func TestWhatTheSourceWasSeededFromIsNoConflict(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/var/lib/app")
	m.write("/var/lib/app/data", "from the template")
	m.apply(e)
	m.write("/var/lib/app/data", "changed since, and longer")
	if err := Unmount(context.Background(), m.options(), []Entry{e}); err != nil {
		t.Fatal(err)
	}
	m.wantStates(Missing, e)
	m.apply(e)
	m.wantText("/var/lib/app/data", "changed since, and longer")
}

// TestWhatChangesIsNotReplaced: what a program writes to what is exchanged for a symlink is put back or, when something took
// that away, too, kept aside.
func TestWhatChangesIsNotReplaced(t *testing.T) {
	m := newMachine(t)
	file, dir := fileEntry("/etc/app.conf"), dirEntry("/srv/app")
	file.Method, dir.Method = Symlink, Symlink
	m.write(file.Source, "same")
	m.write(file.Target, "same")
	k := &kernel{hook: m.changesWhileReplaced(file.Target)}
	if _, err := apply(t.Context(), k, m.options(), []Entry{file}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	m.wantText(file.Target+".impermanence-conflict", "by a program")
	m.mkdir(dir.Source)
	m.mkdir(dir.Target)
	k.hook = func(call, object string) error {
		if call == "rmdir" {
			m.write("/srv/"+object+"/file", "by a program")
		}
		return nil
	}
	if _, err := apply(t.Context(), k, m.options(), []Entry{dir}); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("got %v", err)
	}
	m.wantText("/srv/app/file", "by a program")
}

func TestUnknownUserChangesNothing(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv/data")
	e.User, e.Origin = "nosuch", Origin{File: "impermanence.toml", Line: 7}
	report, err := Apply(context.Background(), m.options(), []Entry{dirEntry("/var/log"), e})
	want := `impermanence.toml:7: /srv/data: user "nosuch": user does not exist`
	if !errors.Is(err, ErrUnknownUser) || err.Error() != want || len(report.Results) != 0 {
		t.Errorf("got %v, %+v", err, report)
	}
	m.wantOwner("/persist/var", "absent")
	m.wantOwner("/var", "absent")
	opts := m.options()
	opts.KeepGoing = true
	report, err = Apply(context.Background(), opts, []Entry{dirEntry("/var/log"), e})
	if !errors.Is(err, ErrUnknownUser) || report.Results[0].State != InPlace || report.Results[1].State != Failed {
		t.Errorf("got %v, %+v", err, report)
	}
	m.wantMounted("/var/log", true)
	m.wantOwner("/srv", "absent")
}

func TestVolumeThatIsNotMounted(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/data")
	for _, volume := range []string{"/data", "/nowhere"} {
		e := dirEntry("/var/log")
		e.Volume, e.Source = volume, volume+"/var/log"
		_, err := Apply(context.Background(), m.options(), []Entry{e})
		if !errors.Is(err, ErrNoVolume) {
			t.Errorf("%s: got %v", volume, err)
		}
		m.wantOwner("/var", "absent")
		m.wantOwner(volume+"/var", "absent")
	}
}

// A directory of another mount point that is fresh at each boot is as little a volume as one of the root: also where it bears a volume's name.
func TestVolumeOnAnEphemeralMountPoint(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/home")
	top := t.TempDir()
	btrfstest.Mount(t, m.device, top, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(top, "home"))
	btrfstest.Mount(t, m.device, m.path("/home"), "subvol=home")
	m.mkdir("/home/persist")
	m.write("/etc/app/file", "precious")
	opts := m.options()
	opts.ephemeral = []string{"/", "/gone", "/home"}
	e := dirEntry("/etc/app")
	e.Volume, e.Source = "/home/persist", "/home/persist/etc/app"
	if _, err := Apply(t.Context(), opts, []Entry{e}); !errors.Is(err, ErrNoVolume) {
		t.Errorf("got %v", err)
	}
	m.wantOwner("/home/persist/etc", "absent")
	if VolumeMounted(opts, e.Volume) {
		t.Error("it counts as mounted")
	}
	btrfstest.Mount(t, m.device, m.path("/home/persist"), "subvol=persist")
	if !VolumeMounted(opts, e.Volume) || !VolumeMounted(opts, "/persist") {
		t.Error("a volume that is mounted does not count as such")
	}
	if _, err := Apply(t.Context(), opts, []Entry{e}); err != nil {
		t.Error(err)
	}
	m.wantText("/persist/etc/app/file", "precious")
}

func TestMountOptions(t *testing.T) {
	m := newMachine(t)
	e := dirEntry("/srv")
	e.MountOptions = []string{"ro", "nosuid", "noatime", "x-test.note"}
	m.apply(e)
	if err := os.WriteFile(m.path("/srv/x"), nil, 0o644); err == nil {
		t.Error("a read-only mount was written to")
	}
	m.wantUnchanged(e)
	e.MountOptions = []string{"rw", "nodev"}
	m.wantStates(Drifted, e)
	m.apply(e)
	m.write("/srv/x", "written")
	m.wantUnchanged(e)
}

func TestEntryBelowAnother(t *testing.T) {
	m := newMachine(t)
	m.mkdir("/scratch")
	inner := dirEntry("/var/lib/app/cache")
	inner.Volume, inner.Source = "/persist/scratch", "/persist/scratch/app"
	m.mkdir("/persist/scratch")
	outer := dirEntry("/var/lib/app")
	m.apply(inner, outer)
	m.write("/var/lib/app/cache/x", "inner")
	m.wantText("/persist/scratch/app/x", "inner")
	m.wantUnchanged(inner, outer)
	if err := Unmount(context.Background(), m.options(), []Entry{outer, inner}); err != nil {
		t.Fatal(err)
	}
	m.wantMounted("/var/lib/app", false)
}

// damage has a file that is kept give errors when it is read: what it holds is found on the disk and changed there.
func (m *machine) damage(t *testing.T, p, content string) {
	t.Helper()
	m.write(p, content)
	btrfstest.Run(t, "sync", "--file-system", m.path(p))
	m.powerOff()
	disk, err := os.OpenFile(m.device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	buf := make([]byte, 1<<20)
	found := false
	for offset := int64(0); ; offset += int64(len(buf)) { // an extent begins at a multiple of 4 KiB
		n, err := disk.ReadAt(buf, offset)
		for at := 0; at+len(content) <= n; at += 4096 {
			if string(buf[at:at+len(content)]) == content {
				found = true
				if _, err := disk.WriteAt([]byte("?"), offset+int64(at)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err != nil || n < len(buf) {
			break
		}
	}
	if !found {
		t.Fatal("not found on the disk")
	}
	if err := disk.Sync(); err != nil {
		t.Fatal(err)
	}
	m.boot()
	if _, err := os.ReadFile(m.path(p)); !errors.Is(err, unix.EIO) {
		t.Fatalf("it is not damaged: %v", err)
	}
}

// TestDamagedSource: what can't be compared with what is in its place, as it can't be read, is put in place all the same, and the conflict told: one
// damaged file is not to cost all others.
func TestDamagedSource(t *testing.T) {
	for _, method := range []Method{Bind, Symlink} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			e := dirEntry("/srv/app")
			e.Method = method
			content := strings.Repeat("precious", 1<<10)
			m.write("/persist/srv/app/other", "x")
			m.damage(t, "/persist/srv/app/file", content)
			m.write("/srv/app/file", strings.Repeat("template", 1<<10))
			report, err := Apply(t.Context(), m.options(), []Entry{e})
			if got := report.Results[0]; got.State != Conflict || !errors.Is(err, ErrConflict) || !strings.Contains(got.Error, "input/output error") {
				t.Errorf("got %+v, %v", got, err)
			}
			if method == Bind {
				m.wantText("/srv/app/other", "x")
			} else {
				m.wantText("/srv/app.impermanence-conflict/file", strings.Repeat("template", 1<<10))
			}
		})
	}
}

// TestPlaceThatIsItsSource: a home that only the passwd file has inside another entry shows what is kept there already. No symlink to itself is
// put in its stead, and nothing is deleted.
func TestPlaceThatIsItsSource(t *testing.T) {
	for _, kind := range []Kind{Directory, File} {
		for _, method := range []Method{Auto, Bind, Symlink, Copy} {
			if kind == Directory && method == Copy {
				continue
			}
			t.Run(kind.String()+" "+method.String(), func(t *testing.T) {
				m := newMachine(t)
				entry := func(below string) Entry {
					e := homeEntry(kind, below)
					e.Home, e.Method = "other", method
					return e
				}
				outer, kept, none := dirEntry("/srv"), entry("kept"), entry("none/below")
				file := "/persist/srv/other/kept"
				if kind == Directory {
					file += "/file"
				}
				m.write(file, "precious")
				m.apply(outer, kept, none)
				m.wantText(file, "precious")
				m.wantUnchanged(outer, kept, none)
				if want := map[Kind]string{Directory: "1001:1001 0755", File: "absent"}[kind]; m.owner("/srv/other/none/below") != want {
					t.Errorf("what is not there yet is %s, want %s", m.owner("/srv/other/none/below"), want)
				}
				m.chown("/srv/other/kept", 1001, 1001, 0o700)
				kept.Mode = bits(0o750)
				m.wantStates(Drifted, kept)
				m.apply(outer, kept)
				m.wantOwner("/persist/srv/other/kept", "1001:1001 0750")
				if method == Bind {
					kept.MountOptions = []string{"noexec"}
					m.apply(outer, kept)
					m.wantMounted("/srv/other/kept", true)
					m.wantUnchanged(outer, kept)
				}
			})
		}
	}
}

// TestWhatWasTheSameIsNotReadAgain: what a place has and its source had too was covered without a conflict. Then the source is
// changed, as what is kept is, and the place comes to light again, as it does in a root that is kept for another boot.
func TestWhatWasTheSameIsNotReadAgain(t *testing.T) {
	m := newMachine(t)
	entries := []Entry{dirEntry("/srv/app"), fileEntry("/etc/app.conf")}
	for _, side := range []string{"", "/persist"} {
		m.write(side+"/srv/app/sub/file", "the same")
		m.write(side+"/etc/app.conf", "the same")
	}
	m.chown("/persist/srv/app", 50, 51, 0o750)
	m.apply(entries...)
	m.wantOwner("/srv/app", "50:51 0750")
	m.wantUnchanged(entries...)
	m.write("/srv/app/sub/file", "changed")
	m.write("/etc/app.conf", "changed")
	m.wantStates(InPlace, entries...)
	if err := Unmount(context.Background(), m.options(), entries); err != nil {
		t.Fatal(err)
	}
	m.wantText("/srv/app/sub/file", "the same")
	m.wantOwner("/srv/app", "50:51 0750")
	m.apply(entries...)
	m.wantText("/srv/app/sub/file", "changed")
	m.wantUnchanged(entries...)
}

// TestSameSizeAndTimeIsNotSameContent has a place and a source that differ in content only, as with files that reproducible builds
// have given one time: it is a conflict, and both are still there afterwards.
func TestSameSizeAndTimeIsNotSameContent(t *testing.T) {
	when := time.Unix(1, 0)
	for _, method := range []Method{Auto, Bind, Symlink, Copy} {
		t.Run(method.String(), func(t *testing.T) {
			m := newMachine(t)
			e := fileEntry("/srv/place")
			e.Method = method
			for p, text := range map[string]string{e.Source: "in the source", e.Target: "in the place!"} {
				m.write(p, text)
				if err := os.Chtimes(m.path(p), when, when); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Apply(context.Background(), m.options(), []Entry{e}); !errors.Is(err, ErrConflict) {
				t.Errorf("got %v, want a conflict", err)
			}
			if err := Unmount(context.Background(), m.options(), []Entry{e}); err != nil {
				t.Fatal(err)
			}
			m.wantReachable(outcomeCase{kind: File, method: method}, "/srv", []string{"in the source", "in the place!"})
		})
	}
}
