package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/test/btrfstest"
)

func TestMain(m *testing.M) { btrfstest.Main(m) }

// machine is a disk with a root, a persistent volume and a configuration.
type machine struct {
	dir, device, top string
}

const configuration = `
[ephemeral."/"]
subvolume = "root"
[persistence."/persist"]
directories = ["/var/log"]
`

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{dir: dir, device: btrfstest.NewDevice(t, 0), top: filepath.Join(dir, "top")}
	btrfstest.Mount(t, m.device, m.top, "subvolid=5")
	for _, name := range []string{"root", "persist"} {
		btrfstest.Subvolume(t, filepath.Join(m.top, name))
	}
	m.write(t, "config.toml", configuration)
	m.write(t, "top/root/stray", "stray")
	return m
}

func (m *machine) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(m.dir, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) fresh(t *testing.T) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(m.top, "root/stray"))
	return os.IsNotExist(err)
}

// run runs the command as a boot with this kernel command line does, and returns exit code, log and record.
func (m *machine) run(t *testing.T, cmdline string, flags ...string) (code int, log string, record btrfsops.BootRecord) {
	t.Helper()
	var b bytes.Buffer
	code = run(context.Background(), append([]string{
		"rollover", "--config", filepath.Join(m.dir, "config.toml"), "--cmdline", "root=" + m.device + " rootflags=subvol=root " + cmdline,
		"--run-dir", filepath.Join(m.dir, "run"),
	}, flags...), newLogger(&b, person))
	records, err := btrfsops.ReadBootRecords(filepath.Join(m.dir, "run", btrfsops.BootRecordName))
	if err != nil || len(records) != 1 {
		t.Fatalf("boot records %v (%v)\n%s", records, err, b.String())
	}
	return code, b.String(), records[0]
}

func TestRolloverRecordsWhatItDid(t *testing.T) {
	m := newMachine(t)
	code, log, record := m.run(t, "")
	if code != exitDone || !m.fresh(t) || record.Outcome != btrfsops.OutcomeFresh || record.Report.OldRoot == "" {
		t.Errorf("exit %d, record %+v\n%s", code, record, log)
	}
	m.write(t, "top/root/stray", "of this boot")
	code, log, again := m.run(t, "")
	if code != exitDone || m.fresh(t) || !strings.Contains(log, "earlier in this boot") {
		t.Errorf("second time in one boot: exit %d\n%s", code, log)
	}
	if diff := cmp.Diff(record, again); diff != "" {
		t.Errorf("the second time put away what is known of the first (-first +second):\n%s", diff)
	}
}

func TestTheKernelCommandLineIsObeyed(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		cmdline string
		outcome btrfsops.Outcome
	}{
		{"impermanence=off", btrfsops.OutcomeSkipped},
		{"impermanence=keep", btrfsops.OutcomeKept},
		{"impermanence.root=nowhere", btrfsops.OutcomeFailed},
	} {
		if _, log, record := m.run(t, c.cmdline); m.fresh(t) || record.Outcome != c.outcome {
			t.Errorf("%s: record %+v\n%s", c.cmdline, record, log)
		}
	}
}

// TestAKernelOfTheRunningRoot: a fresh root would have no modules for it.
func TestAKernelOfTheRunningRoot(t *testing.T) {
	m := newMachine(t)
	m.write(t, "config.toml", "[ephemeral.\"/\"]\ntemplate = \"template\"\n")
	btrfstest.Subvolume(t, filepath.Join(m.top, "template"))
	modules := "/usr/lib/modules/" + readTrimmed(osReleaseFile) + "/modules.dep"
	m.write(t, "top/template/usr/lib/modules/1.0/modules.dep", "")
	m.write(t, "top/root"+modules, "")
	code, log, record := m.run(t, "")
	if code != exitFailed || m.fresh(t) || record.Outcome != btrfsops.OutcomeFailed || !strings.Contains(record.Error, "no modules") {
		t.Errorf("exit %d, record %+v\n%s", code, record, log)
	}
	m.write(t, "top/template"+modules, "")
	if code, log, record := m.run(t, ""); code != exitDone || !m.fresh(t) {
		t.Errorf("with them: exit %d, record %+v\n%s", code, record, log)
	}
}

func TestARequestIsUsedOnce(t *testing.T) {
	m := newMachine(t)
	layout := btrfsops.Layout{Root: "root", OldRoots: "old_roots"}
	fs, err := btrfsops.OpenDevice(m.device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fs.Close() }()
	if err := fs.SetNextBoot(layout, btrfsops.NextKeep); err != nil {
		t.Fatal(err)
	}
	if _, log, record := m.run(t, ""); m.fresh(t) || record.Outcome != btrfsops.OutcomeKept {
		t.Errorf("asked to keep: record %+v\n%s", record, log)
	}
	if _, log, record := m.run(t, ""); !m.fresh(t) || record.Outcome != btrfsops.OutcomeFresh {
		t.Errorf("the boot after: record %+v\n%s", record, log)
	}
}

// Where a request can't be taken back, as on a full disk, what it asked for was done all the same: the boot is not to stop.
func TestARequestThatStaysIsNoFailure(t *testing.T) {
	m := newMachine(t)
	m.write(t, "config.toml", "[ephemeral.\"/\"]\nonFailure = \"emergency\"\n")
	fs, err := btrfsops.OpenDevice(m.device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fs.Close() }()
	if err := fs.SetNextBoot(btrfsops.Layout{Root: "root", OldRoots: "old_roots"}, btrfsops.NextKeep); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(m.top)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = top.Close() }()
	if err := syscall.Flock(int(top.Fd()), syscall.LOCK_EX); err != nil { // as another process of ours would
		t.Fatal(err)
	}
	code, log, record := m.run(t, "")
	if code != exitDone || m.fresh(t) || record.Outcome != btrfsops.OutcomeKept || !strings.Contains(record.Error, "next boot keeps") || !strings.Contains(log, record.Error) {
		t.Errorf("exit %d, record %+v\n%s", code, record, log)
	}
}

// A request that can't be met, since what was asked for is gone, is used up all the same.
func TestARequestForARootThatIsGoneIsUsedOnce(t *testing.T) {
	m := newMachine(t)
	layout := btrfsops.Layout{Root: "root", OldRoots: "old_roots"}
	fs, err := btrfsops.OpenDevice(m.device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fs.Close() }()
	btrfstest.Subvolume(t, filepath.Join(m.top, "old"))
	if err := os.Mkdir(filepath.Join(m.top, "old_roots"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(m.top, "old"), filepath.Join(m.top, "old_roots/old")); err != nil {
		t.Fatal(err)
	}
	if err := fs.SetNextBoot(layout, "old"); err != nil {
		t.Fatal(err)
	}
	btrfstest.Run(t, "btrfs", "subvolume", "delete", filepath.Join(m.top, "old_roots/old"))
	code, log, record := m.run(t, "")
	if code != exitFailed || m.fresh(t) || !strings.Contains(record.Error, "impermanence next") {
		t.Errorf("asked for what is gone: exit %d, record %+v\n%s", code, record, log)
	}
	if _, log, record := m.run(t, ""); !m.fresh(t) || record.Outcome != btrfsops.OutcomeFresh {
		t.Errorf("the boot after: record %+v\n%s", record, log)
	}
}

func TestAFailureKeepsTheFormerRoot(t *testing.T) {
	for name, c := range map[string]struct {
		config, cmdline string
		code            int
		says            string
	}{
		"no such device":         {configuration, "root=/dev/does-not-exist", exitFailed, "/dev/does-not-exist"},
		"no btrfs":               {configuration, "root=/dev/null", exitFailed, ""},
		"a wrong configuration":  {"[ephemeral.\"/\"]\nsubvolum = \"root\"\n", "", exitFailed, "subvolume"},
		"no template":            {"[ephemeral.\"/\"]\ntemplate = \"none\"\n", "", exitFailed, "template"},
		"no template, emergency": {"[ephemeral.\"/\"]\ntemplate = \"none\"\nonFailure = \"emergency\"\n", "", exitEmergency, "template"},
		"a hibernation image":    {configuration, "resume=@swap", exitFailed, "hibernated"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write(t, "config.toml", c.config)
			m.write(t, "swap", strings.Repeat("\x00", os.Getpagesize()-10)+"S1SUSPEND\x00")
			cmdline := strings.Replace(c.cmdline, "@swap", filepath.Join(m.dir, "swap"), 1)
			code, log, record := m.run(t, cmdline)
			if code != c.code || m.fresh(t) || record.Outcome != btrfsops.OutcomeFailed || !strings.Contains(record.Error, c.says) {
				t.Errorf("exit %d, record %+v\n%s", code, record, log)
			}
			t.Log(log)
		})
	}
}

// TestWhyTheBootHasNoFreshRootStays: a systemd initrd starts the unit that failed a second time, with what is mounted below the root.
func TestWhyTheBootHasNoFreshRootStays(t *testing.T) {
	m := newMachine(t)
	m.write(t, "config.toml", "[ephemeral.\"/\"]\ntemplate = \"none\"\n")
	_, _, first := m.run(t, "")
	btrfstest.Mount(t, m.device, filepath.Join(m.dir, "sysroot"), "subvol=root")
	code, log, record := m.run(t, "")
	if code != exitFailed || !strings.Contains(log, "mounted") {
		t.Errorf("with a mounted root: exit %d\n%s", code, log)
	}
	if diff := cmp.Diff(first, record); diff != "" {
		t.Errorf("the second time put away what is known of the first (-first +second):\n%s", diff)
	}
}

// TestOnlyWhereConfiguredDoesAFailureStopTheBoot has a systemctl that notes what it is asked, and one that fails.
func TestOnlyWhereConfiguredDoesAFailureStopTheBoot(t *testing.T) {
	for onFailure, want := range map[string]string{"continue": "", "emergency": "--no-block isolate emergency.target\n"} {
		m := newMachine(t)
		m.write(t, "config.toml", "[ephemeral.\"/\"]\ntemplate = \"none\"\nonFailure = \""+onFailure+"\"\n")
		asked := filepath.Join(m.dir, "asked")
		m.write(t, "asked", "")
		m.write(t, "bin/systemctl", "#!/bin/sh\necho \"$*\" >>"+asked+"\n")
		if err := os.Chmod(filepath.Join(m.dir, "bin/systemctl"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", filepath.Join(m.dir, "bin")+":"+os.Getenv("PATH"))
		_, log, _ := m.run(t, "", "--isolate-emergency")
		if got, err := os.ReadFile(asked); err != nil || string(got) != want {
			t.Errorf("%s: systemctl was asked %q (%v)\n%s", onFailure, got, err, log)
		}
		m.write(t, "bin/systemctl", "#!/bin/sh\necho no manager\nexit 1\n")
		code, log, _ := m.run(t, "", "--isolate-emergency")
		if told := strings.Contains(log, "no manager"); told != (want != "") || (code == exitEmergency) != told {
			t.Errorf("%s, where systemctl fails: exit %d\n%s", onFailure, code, log)
		}
	}
}

func TestAPersistentVolumeInTheRootIsNotArchived(t *testing.T) {
	for name, fstab := range map[string]string{
		"persist": "",
		"data":    "UUID=1 /persist btrfs subvol=/root/data 0 0\n",
	} {
		m := newMachine(t)
		if err := os.Rename(filepath.Join(m.top, "persist"), filepath.Join(m.top, "root", name)); err != nil {
			t.Fatal(err)
		}
		m.write(t, "top/root/etc/fstab", fstab)
		code, log, record := m.run(t, "")
		if code != exitFailed || m.fresh(t) || !strings.Contains(record.Error, "root/"+name) {
			t.Errorf("%s: exit %d, record %+v\n%s", name, code, record, log)
		}
	}
}

// What fstab mounts by its id is found wherever it is. As a part of an old root it could be deleted with that, when it is not mounted.
func TestAVolumeThatIsMountedByItsIDIsNotArchived(t *testing.T) {
	for name, c := range map[string]struct {
		device, option string // OURS, ID
		fresh          bool
	}{
		"by id":                    {"OURS", "noauto,subvolid=ID,x-systemd.automount", false},
		"of another file system":   {btrfstest.NewDevice(t, 0), "subvolid=ID", true},
		"of a disk that is away":   {"UUID=1", "subvolid=ID", true},
		"of an id that nobody has": {"OURS", "subvolid=9999", true},
		"the top level":            {"OURS", "subvolid=5", true},
		"the top level, as 0":      {"OURS", "subvolid=0", true},
		"no id":                    {"OURS", "subvolid=root", true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			nested := filepath.Join(m.top, "root/srv/data")
			m.write(t, "top/root/srv/stray", "")
			btrfstest.Subvolume(t, nested)
			id := strings.TrimSpace(btrfstest.Run(t, "btrfs", "inspect-internal", "rootid", nested))
			m.write(t, "top/root/etc/fstab", strings.NewReplacer("OURS", m.device, "=ID", "="+id).Replace(c.device+" /data btrfs "+c.option+" 0 0\n"))
			code, log, record := m.run(t, "")
			if m.fresh(t) != c.fresh || (code == exitDone) != c.fresh || strings.Contains(record.Error, "root/srv/data") == c.fresh {
				t.Errorf("exit %d, record %+v\n%s", code, record, log)
			}
		})
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"roll"}, {"rollover", "extra"}, {"-nonsense", "rollover"}} {
		var b bytes.Buffer
		if code := run(context.Background(), args, newLogger(&b, journal)); code != exitUsage || !strings.Contains(b.String(), "impermanence-initrd") && !strings.Contains(b.String(), "unknown command") {
			t.Errorf("%q: exit %d, %s", args, code, b.String())
		}
	}
}
