package test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// Debian has no mkinitcpio to run. Its hooks are held against what mkinitcpio(8) documents: the functions that an install script may call,
// with their arguments, and those that a runtime hook finds in the initrd and has to define.

// TestMkinitcpioInstallScripts has each install script build an image of a configured machine, and compares what it adds.
func TestMkinitcpioInstallScripts(t *testing.T) {
	const builder = `set -eu
for f in add_module add_binary add_file add_runscript add_systemd_unit add_symlink; do
	eval "$f() { echo $f \"\$@\"; }"
done
. "/usr/lib/initcpio/install/$1"
build
help >/dev/null`
	root := installed(t)
	common := []string{"add_module btrfs", "add_binary /usr/lib/impermanence/impermanence-initrd"}
	for _, file := range configure(t, root) {
		common = append(common, "add_file "+file)
	}
	for script, more := range map[string][]string{
		"impermanence": {"add_runscript"},
		"sd-impermanence": {
			"add_systemd_unit impermanence-rollover.service",
			"add_systemd_unit impermanence-initrd-persist.service",
			"add_file /usr/lib/systemd/system/initrd-parse-etc.service.d/impermanence.conf",
			"add_symlink /usr/lib/systemd/system/sysroot.mount.wants/impermanence-rollover.service ../impermanence-rollover.service",
			"add_symlink /usr/lib/systemd/system/initrd.target.wants/impermanence-initrd-persist.service ../impermanence-initrd-persist.service",
		},
	} {
		got := strings.Split(strings.TrimSpace(btrfstest.Run(t, "chroot", root, "bash", "-c", builder, "bash", script)), "\n")
		if diff := cmp.Diff(append(common[:len(common):len(common)], more...), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", script, diff)
		}
	}
}

// TestMkinitcpioHook runs the hook of a busybox initrd as mkinitcpio's init does: run_hook before the root is mounted, run_latehook after.
func TestMkinitcpioHook(t *testing.T) {
	const initrd = `
root=UUID=1-2
drain() { while read -r _; do :; done; }
resolve_device() { drain; echo "resolve_device $1" >&2; [ "$1" != UUID=gone ] && echo /dev/vda; }
err() { echo "err $*" >&2; }
launch_interactive_shell() { echo shell >&2; }
mount() { drain; echo "mount $*" >&2; }
mountpoint() { [ "$2" = /new_root/mounted ]; }
mkdir() { echo "mkdir $*" >&2; }
. /usr/lib/initcpio/hooks/impermanence
`
	root := installed(t)
	writeFile(t, root+"/usr/lib/impermanence/impermanence-initrd", "#!/bin/sh\necho \"program $*\" >&2\nexit ${STATUS:-0}\n")
	btrfstest.Run(t, "mkdir", "-p", root+"/new_root/etc")
	writeFile(t, filepath.Join(root, "new_root/etc/fstab"), `# UUID=0 /comment btrfs x-initrd.mount 0 0
UUID=1-2 / btrfs subvol=root 0 0
UUID=1-2 /persist btrfs subvol=persist,x-initrd.mount 0 0
UUID=1-2 /mounted btrfs x-initrd.mount 0 0
UUID=3-4 /later btrfs defaults 0 0
`+escapedFstab)
	late := []string{
		"mount -o remount,rw /new_root",
		"mkdir -p /new_root/persist", "resolve_device UUID=1-2", "mount -t btrfs -o subvol=persist,x-initrd.mount /dev/vda /new_root/persist",
		"mkdir -p /new_root/my volume", "resolve_device LABEL=my disk", "mount -t btrfs -o subvol=my volume,x-initrd.mount /dev/vda /new_root/my volume",
		"mkdir -p /new_root/with\ttab 1", "resolve_device LABEL=d", "mount -t btrfs -o subvol=a,x-initrd.mount /dev/vda /new_root/with\ttab 1",
		"mkdir -p /new_root/back\\040slash\\400\\", "resolve_device LABEL=d",
		"mount -t btrfs -o subvol=b,x-initrd.mount /dev/vda /new_root/back\\040slash\\400\\",
		"mkdir -p /new_root/new", "line", "resolve_device LABEL=d", "mount -t btrfs -o subvol=c,x-initrd.mount /dev/vda /new_root/new", "line",
		"program persist --keep-going --sysroot=/new_root",
	}
	for _, c := range []struct {
		script string
		want   []string
	}{
		{"run_hook", []string{"resolve_device UUID=1-2", "program rollover --keep-mounted"}},
		{"STATUS=1; export STATUS; run_hook", []string{"resolve_device UUID=1-2", "program rollover --keep-mounted"}},
		{"STATUS=3; export STATUS; run_hook", []string{
			"resolve_device UUID=1-2", "program rollover --keep-mounted",
			"err impermanence: no fresh root. With impermanence=off on the kernel command line the former one boots.", "shell",
		}},
		{"root=UUID=gone; run_hook", []string{"resolve_device UUID=gone"}},
		{"run_latehook", late},
	} {
		out, _ := exec.Command("chroot", root, "busybox", "sh", "-c", initrd+c.script).CombinedOutput() // init does not look at the status either
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSpace(string(out)), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.script, diff)
		}
	}
}
