package test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// escapedFstab has fields that an fstab can only have with escapes, and marks each line for the initrd. A backslash before anything but three
// octal digits of a byte stands for itself. The last line has no end.
const escapedFstab = `LABEL=my\040disk /my\040volume btrfs subvol=my\040volume,x-initrd.mount 0 0
LABEL=d /with\011tab\0401 btrfs subvol=a,x-initrd.mount 0 0
LABEL=d /back\134040slash\400\ btrfs subvol=b,x-initrd.mount 0 0
LABEL=d /new\012line btrfs subvol=c,x-initrd.mount 0 0`

// TestInitramfsToolsLocalBottom runs the script that mounts what fstab marks for the initrd, in each shell that an initrd of initramfs-tools has.
func TestInitramfsToolsLocalBottom(t *testing.T) {
	const initrd = `
say() { printf '%s\n' "$*"; }
local_device_setup() { drain; say "local_device_setup $1"; DEV=/dev/vda; }
drain() { while read -r _; do :; done; }
log_begin_msg() { :; }
log_end_msg() { say "end $1"; }
mount() { drain; say "mount $*"; }
mkdir() { say "mkdir $*"; }
`
	const script = "/usr/share/initramfs-tools/scripts/local-bottom/impermanence"
	root := installed(t)
	writeFile(t, root+"/usr/lib/impermanence/impermanence-initrd", "#!/bin/sh\necho \"program $*\" >/program\nexit 1\n")
	btrfstest.Run(t, "mkdir", "-p", root+"/scripts", root+"/root/etc", root+"/root/mounted here")
	writeFile(t, root+"/scripts/functions", initrd)
	writeFile(t, root+"/scripts/local", "")
	btrfstest.Run(t, "mount", "-t", "proc", "proc", root+"/proc")
	btrfstest.Run(t, "mount", "-t", "tmpfs", "tmpfs", root+"/root/mounted here")
	t.Cleanup(func() { btrfstest.Unmount(t, root+"/root/mounted here"); btrfstest.Unmount(t, root+"/proc") })
	writeFile(t, root+"/root/etc/fstab", `# UUID=0 /comment btrfs x-initrd.mount 0 0
UUID=1-2 / btrfs subvol=root 0 0
UUID=1-2 /persist btrfs nofail,subvol=persist,x-initrd.mount 0 0
UUID=1-2 /mounted\040here tmpfs x-initrd.mount 0 0
UUID=3-4 /later btrfs defaults 0 0
`+escapedFstab)
	want := `mount -o remount,rw /root
local_device_setup UUID=1-2
mkdir -p /root/persist
mount -t btrfs -o rw,subvol=persist /dev/vda /root/persist
local_device_setup LABEL=my disk
mkdir -p /root/my volume
mount -t btrfs -o rw,subvol=my volume /dev/vda /root/my volume
local_device_setup LABEL=d
mkdir -p /root/with` + "\t" + `tab 1
mount -t btrfs -o rw,subvol=a /dev/vda /root/with` + "\t" + `tab 1
local_device_setup LABEL=d
mkdir -p /root/back\040slash\400\
mount -t btrfs -o rw,subvol=b /dev/vda /root/back\040slash\400\
local_device_setup LABEL=d
mkdir -p /root/new
line
mount -t btrfs -o rw,subvol=c /dev/vda /root/new
line
end 1
`
	for _, shell := range [][]string{{"dash"}, {"busybox", "sh"}} {
		command := append(append([]string{root}, shell...), "-c", "rootmnt=/root; . "+script)
		out, _ := exec.Command("chroot", command...).CombinedOutput() // init does not look at the status either
		if diff := cmp.Diff(want, string(out)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", strings.Join(shell, " "), diff)
		}
	}
}

// TestInitramfsToolsLocalPremount runs the script that makes the fresh root, with a kernel command line and with what a /conf of the initrd says.
func TestInitramfsToolsLocalPremount(t *testing.T) {
	const initrd = `
local_device_setup() { DEV=/dev/vda; }
log_begin_msg() { :; }
log_end_msg() { echo "end $1"; }
panic() { echo "panic $*"; }
sleep() { command sleep "$1" >&2; } # who waits for the output does not wait for it
`
	const script = "/usr/share/initramfs-tools/scripts/local-premount/impermanence"
	root := installed(t)
	writeFile(t, root+"/usr/lib/impermanence/impermanence-initrd", "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit ${STATUS:-0}\n")
	btrfstest.Run(t, "mkdir", "-p", root+"/scripts", root+"/proc")
	writeFile(t, root+"/dev/null", "")
	writeFile(t, root+"/scripts/functions", initrd)
	writeFile(t, root+"/scripts/local", "")
	for name, c := range map[string]struct{ cmdline, conf, given, end string }{
		"all on the command line": {"root=UUID=1 ro rootflags=subvol=a quiet", "ROOTFLAGS='-o subvol=a'", "", "end 0"},
		"without flags":           {"root=UUID=1 ro", "ROOTFLAGS=", "", "end 0"},
		"flags of /conf":          {"root=UUID=1 ro", "ROOTFLAGS='-o subvol=b'", " rootflags=subvol=b", "end 0"},
		"nothing":                 {"quiet xroot=UUID=1 xrootflags=a", "ROOTFLAGS='-o subvol=b'", " root=/dev/vda rootflags=subvol=b", "end 0"},
		"a failure":               {"root=UUID=1 ro", "STATUS=1; export STATUS", "", "end 1"},
		"a failure that is to stop": {
			"root=UUID=1 ro", "STATUS=3; export STATUS", "",
			"panic impermanence: no fresh root. With impermanence=off on the kernel command line the former one boots.\nend 3",
		},
	} {
		writeFile(t, root+"/proc/cmdline", c.cmdline+"\n")
		want := "rollover\n--keep-mounted\n--cmdline=" + c.cmdline + c.given + "\n" + c.end + "\n"
		for _, shell := range [][]string{{"dash"}, {"busybox", "sh"}} {
			command := append(append([]string{root}, shell...), "-c", "ROOT=UUID=1; "+c.conf+"; . "+script)
			out, _ := exec.Command("chroot", command...).CombinedOutput()
			if diff := cmp.Diff(want, string(out)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, strings.Join(shell, " "), diff)
			}
		}
	}
}
