package boot

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// container is a machine that is given no kernel of its own: its initrd, which has to be one with systemd, the switch of the root and that
// root's systemd run on this machine's. It boots in seconds where an emulated one takes a minute, and has no devices to wait for and no
// fstab that mounts any.
type container struct {
	device string // where the disk is on this machine
	name   string // and in the container
	initrd string // the directory with the unpacked initrd
}

// newContainer unpacks the initrd, and lays files over those that are there.
func newContainer(t testing.TB, d disk, over map[string]string) container {
	t.Helper()
	c := container{device: btrfstest.Attach(t, d.image), name: "/dev/disk/by-uuid/" + d.uuid, initrd: t.TempDir()}
	btrfstest.Run(t, "bsdtar", "-x", "-f", d.initrd, "-C", c.initrd)
	lay(t, c.initrd, over)
	// A container has no units of devices, for which the unit would wait that systemd makes of root=.
	c.mount(t, "sysroot", "initrd-root-fs.target", regexp.MustCompile(`rootflags=(\S+)`).FindStringSubmatch(d.root)[1], "")
	// A service's credentials are mounted for it. PID 1 takes note of mounts five times in a second and mounts nothing
	// until the next one: a wait of nearly a second, as long with us, in which what we do before sysroot.mount would seem to cost nothing.
	write(t, c.initrd+"/etc/systemd/system/service.d/no-credentials.conf", "[Service]\nImportCredential=\nLoadCredential=\n")
	return c
}

// mountVolume adds the unit that systemd makes of the line of fstab for the persistent volume, if there is one, and that a container makes of none.
func (c container) mountVolume(t testing.TB, d disk) {
	t.Helper()
	var fstab string
	d.change(t, func(top string) { fstab = read(t, filepath.Join(top, rootSubvolume, "etc/fstab")) })
	if strings.Contains(fstab, "x-initrd.mount") {
		// Where it is mounted without that, initrd-parse-etc.service makes none.
		c.mount(t, "sysroot-persist", "initrd-fs.target", "subvol=persist", "ConditionPathExists=!/run/impermanence/initrd-parse-etc.env")
	}
}

// mount adds the unit of a mount to the initrd.
func (c container) mount(t testing.TB, name, target, options, condition string) {
	t.Helper()
	write(t, c.initrd+"/etc/systemd/system/"+name+".mount", fmt.Sprintf(
		"[Unit]\nDefaultDependencies=no\nBefore=%s\n%s\n[Mount]\nWhat=%s\nWhere=/%s\nType=btrfs\nOptions=%s\n",
		target, condition, c.name, strings.ReplaceAll(name, "-", "/"), options))
	write(t, fmt.Sprintf("%s/etc/systemd/system/%s.d/%s.conf", c.initrd, target, name), "[Unit]\nRequires="+name+".mount\n")
}

// command is one boot. It prints when that begins, and then the console. PID 1 takes its options from its arguments: in a container it does
// not look at the kernel command line.
func (c container) command(ctx context.Context, t testing.TB, cmdline, checks, result string, options ...string) *exec.Cmd {
	t.Helper()
	told := filepath.Join(t.TempDir(), "cmdline")
	write(t, told, cmdline+"\n")
	// Its own process namespace ends with it, whatever it started.
	cmd := exec.CommandContext(ctx, "unshare", append([]string{
		"--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "container.sh", c.initrd, c.device, c.name, told, checks, result,
	}, options...)...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	return cmd
}
