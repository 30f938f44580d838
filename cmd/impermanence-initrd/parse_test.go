package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/fstab"
)

func TestParseCmdline(t *testing.T) {
	for line, want := range map[string]cmdline{
		"":                                 {},
		"quiet root=UUID=1-2 ro":           {root: "UUID=1-2"},
		"impermanence=off":                 {off: true},
		"impermanence=off impermanence=":   {},
		"impermanence=keep\n":              {keep: true},
		"impermanence=kept":                {},
		`impermanence.root="a b" quiet`:    {oldRoot: "a b"},
		"resume=/dev/sda2\tnoresume":       {resume: "/dev/sda2", noResume: true},
		"resume-offset=7 resume_offset=0x": {resumeOffset: "0x"},
		"root=/dev/a root=/dev/b":          {root: "/dev/b"},
		`"root=LABEL=my root" ro`:          {root: "LABEL=my root"},
		"rootflags=rw,subvol=@ ro":         {rootflags: "rw,subvol=@"},
		"ximpermanence=off impermanence.x": {},
	} {
		if diff := cmp.Diff(want, parseCmdline(line), cmp.AllowUnexported(cmdline{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

func FuzzParseCmdline(f *testing.F) {
	f.Add(`root=UUID=1 impermanence=off "resume=/dev/a b"`)
	f.Add(`impermanence.root=20261123T075400Z-257 noresume`)
	f.Fuzz(func(t *testing.T, line string) {
		c := parseCmdline(line)
		if (c.off || c.keep) && !strings.Contains(line, "impermanence") {
			t.Errorf("%q is read as a request", line)
		}
		for _, parameter := range splitCmdline(line) {
			if strings.Contains(parameter, `"`) {
				t.Errorf("a quote is left in %q", parameter)
			}
		}
	})
}

func TestMountedSubvolumes(t *testing.T) {
	const table = `# subvol=root/comment
UUID=1 /        btrfs subvol=root,noatime 0 0
UUID=1 /persist btrfs noatime,subvol=/root/persist 0 0
UUID=1 /with\040space btrfs subvol=a\040b 0 0
UUID=2 /boot ext4 subvol=no 0 0
short btrfs
` + "UUID=1 /odd\v\u0085place btrfs subvol=c\v\u0085d\n" // what is white space elsewhere, and not in an fstab
	got, err := mountedSubvolumes(nil, fstab.Parse(table))
	if diff := cmp.Diff([]string{"root", "root/persist", "a b", "c\v\u0085d"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFstabMount(t *testing.T) {
	const table = `UUID=1 / btrfs subvol=root 0 0
UUID=1 /home/ btrfs noatime,subvol=a\040b 0 0
UUID=1 /srv ext4 subvol=no 0 0
UUID=1 /data auto subvol=d
`
	for mountPoint, want := range map[string]string{"/home": "noatime,subvol=a b", "/": "subvol=root", "/srv": "", "/hom": "", "/data": "subvol=d"} {
		got := fstabMount(fstab.Parse(table), mountPoint)
		if got.Options != want || (got.From != "") != (want != "") || (got.Device == "/dev/disk/by-uuid/1") != (want != "") {
			t.Errorf("%s: %+v, want %q", mountPoint, got, want)
		}
	}
}

func TestHibernationImageIsSeen(t *testing.T) {
	page := os.Getpagesize()
	device := filepath.Join(t.TempDir(), "swap")
	swap := make([]byte, 3*page)
	copy(swap[page-10:], "SWAPSPACE2")
	write := func() {
		t.Helper()
		if err := os.WriteFile(device, swap, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := checkImage(device, ""); err != nil {
		t.Errorf("plain swap: %v", err)
	}
	for _, signature := range imageSignatures {
		copy(swap[page-10:], "SWAPSPACE2")
		copy(swap[3*page-10:], signature+"\x00\x00\x00")
		write()
		if err := checkImage(device, "2"); err == nil {
			t.Errorf("%s is not seen", signature)
		}
		b := boot{cmdline: parseCmdline("resume=" + device)}
		if err := b.checkHibernation(); err != nil {
			t.Errorf("an image at an offset is seen at the beginning: %v", err)
		}
		b = boot{cmdline: parseCmdline("resume_offset=2 resume=" + device)}
		if err := b.checkHibernation(); err == nil {
			t.Errorf("%s in a swap file is not seen", signature)
		}
		b = boot{cmdline: parseCmdline("resume=" + device)}
		copy(swap[page-10:], signature+"\x00\x00\x00")
		write()
		if err := b.checkHibernation(); err == nil {
			t.Errorf("%s on resume= is not seen", signature)
		}
		b = boot{cmdline: parseCmdline("noresume resume=" + device)}
		if err := b.checkHibernation(); err != nil {
			t.Errorf("noresume: %v", err)
		}
	}
	if err := checkImage(filepath.Join(t.TempDir(), "none"), ""); err != nil {
		t.Errorf("a missing device: %v", err)
	}
}
