package persist

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// machine is a root being booted, with a persistent volume, on a real btrfs file system.
type machine struct {
	t      testing.TB
	device string
	root   string // sysroot
	table  string // libmount's directory
	boots  int
}

const passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\ndemo:x:1000:100::/home/demo:/bin/sh\nlog:x:50:51::/var/log:/bin/false\nother:x:1001:1001::/srv/other:/bin/sh\n"

const group = "root:x:0:\nusers:x:100:demo\nlog:x:51:\nadm:x:4:\n"

// newMachine makes a machine with an empty root and an empty volume at /persist.
func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, device: btrfstest.NewDevice(t, 512<<20), root: filepath.Join(dir, "sysroot"), table: filepath.Join(dir, "mount")}
	top := filepath.Join(dir, "top")
	btrfstest.Mount(t, m.device, top, "subvolid=5")
	btrfstest.Subvolume(t, filepath.Join(top, "persist"))
	btrfstest.Unmount(t, top)
	m.boot()
	return m
}

// boot mounts a fresh root with passwd and group files, and the volume.
func (m *machine) boot() {
	m.t.Helper()
	m.powerOff()
	m.boots++
	name := fmt.Sprintf("root%d", m.boots)
	top := filepath.Join(filepath.Dir(m.root), "top")
	btrfstest.Mount(m.t, m.device, top, "subvolid=5")
	btrfstest.Subvolume(m.t, filepath.Join(top, name))
	btrfstest.Unmount(m.t, top)
	btrfstest.Mount(m.t, m.device, m.root, "subvol="+name)
	m.mkdir("/persist")
	btrfstest.Mount(m.t, m.device, m.root+"/persist", "subvol=persist")
	m.write("/etc/passwd", passwd)
	m.write("/etc/group", group)
}

// powerOff takes all mounts away.
func (m *machine) powerOff() { btrfstest.Unmount(m.t, m.root) }

func (m *machine) options() Options {
	opts := NewOptions(m.root, []string{"/"})
	opts.MountTable = m.table
	return opts
}

func (m *machine) path(p string) string { return filepath.Join(m.root, p) }

func (m *machine) mkdir(p string) {
	m.t.Helper()
	if err := os.MkdirAll(m.path(p), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(p, text string) {
	m.t.Helper()
	m.mkdir(filepath.Dir(p))
	if err := os.WriteFile(m.path(p), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(p string) string {
	m.t.Helper()
	data, err := os.ReadFile(m.path(p))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

func (m *machine) symlink(text, p string) {
	m.t.Helper()
	m.mkdir(filepath.Dir(p))
	if err := os.Symlink(text, m.path(p)); err != nil {
		m.t.Fatal(err)
	}
}

// chown sets owner and mode; a symlink has no mode, and chmod(2) would set that of what it leads to, on the machine that runs the test.
func (m *machine) chown(p string, uid, gid int, mode uint32) {
	m.t.Helper()
	if err := os.Lchown(m.path(p), uid, gid); err != nil {
		m.t.Fatal(err)
	}
	if info, err := os.Lstat(m.path(p)); err != nil {
		m.t.Fatal(err)
	} else if info.Mode()&os.ModeSymlink != 0 {
		return
	}
	if err := syscall.Chmod(m.path(p), mode); err != nil {
		m.t.Fatal(err)
	}
}

// owner gives owner and mode as text, "absent" when nothing is there.
func (m *machine) owner(p string) string {
	var st syscall.Stat_t
	if err := syscall.Lstat(m.path(p), &st); err != nil {
		return "absent"
	}
	return fmt.Sprintf("%d:%d %04o", st.Uid, st.Gid, st.Mode&0o7777)
}

func (m *machine) wantOwner(p, want string) {
	m.t.Helper()
	if got := m.owner(p); got != want {
		m.t.Errorf("%s is %s, want %s", p, got, want)
	}
}

func (m *machine) wantText(p, want string) {
	m.t.Helper()
	if got := m.read(p); got != want {
		m.t.Errorf("%s holds %q, want %q", p, got, want)
	}
}

// apply applies and fails the test on any error.
func (m *machine) apply(entries ...Entry) Report {
	m.t.Helper()
	report, err := Apply(context.Background(), m.options(), entries)
	if err != nil {
		m.t.Fatal(err)
	}
	return report
}

// wantUnchanged applies again and fails when anything was done, or is to be done.
func (m *machine) wantUnchanged(entries ...Entry) {
	m.t.Helper()
	k := &kernel{hook: func(call, object string) error {
		if call != "clone mount of" {
			m.t.Errorf("the second apply does: %s %s", call, object)
		}
		return nil
	}}
	report, err := apply(context.Background(), k, m.options(), entries)
	if err != nil {
		m.t.Errorf("the second apply: %v", err)
	}
	for _, r := range report.Results {
		if r.State != InPlace || r.Actions != "" {
			m.t.Errorf("the second apply: %+v", r)
		}
	}
	m.wantStates(InPlace, entries...)
}

func (m *machine) wantStates(want State, entries ...Entry) {
	m.t.Helper()
	statuses, err := Inspect(m.t.Context(), m.options(), entries)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, s := range statuses {
		if s.State != want {
			m.t.Errorf("%s is %s (%v), want %s", s.Entry.Target, s.State, s.Err, want)
		}
	}
}

// wantMounted fails unless the place shows the source by a mount.
func (m *machine) wantMounted(p string, want bool) {
	m.t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		m.t.Fatal(err)
	}
	if got := strings.Contains(string(data), " "+mangle(m.path(p))+" "); got != want {
		m.t.Errorf("%s is mounted: %t, want %t", p, got, want)
	}
}

func dirEntry(target string) Entry {
	return Entry{Kind: Directory, Target: target, Source: "/persist" + target, Volume: "/persist"}
}

func fileEntry(target string) Entry {
	return Entry{Kind: File, Target: target, Source: "/persist" + target, Volume: "/persist"}
}

func homeEntry(kind Kind, below string) Entry {
	return Entry{Kind: kind, Target: "/home/demo/" + below, Source: "/persist/home/demo/" + below, Volume: "/persist", Home: "demo", BelowHome: below}
}

func bits(mode uint32) Mode { return Mode{Bits: mode, Given: true} }
