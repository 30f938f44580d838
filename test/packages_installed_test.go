package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// packager is a program that installs and removes packages of one format, below another root.
type packager struct {
	install, upgrade, removal []string // what is to be installed follows the first two
	initrd                    string   // what its scripts call for new initrds; pacman has hooks for that
}

// TestPackagesInstall has rpm and pacman themselves install our packages, run their scripts, upgrade and remove. (Machines that boot do it
// with the .deb.)
func TestPackagesInstall(t *testing.T) {
	packages := makePackages(t)
	for _, format := range []string{"rpm", "pkg.tar.zst"} {
		t.Run(format, func(t *testing.T) {
			root := overlay(t)
			btrfstest.Run(t, "mkdir", "--parents", filepath.Join(root, "etc/impermanence"))
			writeFile(t, filepath.Join(root, "etc/impermanence/impermanence.toml"), "# configured\n")
			dracut := filepath.Join(root, "usr/bin/dracut")
			writeFile(t, dracut, "#!/bin/sh\necho \"$@\" >>/dracut-ran\n")
			btrfstest.Run(t, "chmod", "+x", dracut)
			p := packagerOf(t, format, root)
			btrfstest.Run(t, p.install[0], append(p.install[1:], packages[format])...)
			want := t.TempDir()
			makeTarget(t, "install", want)
			for _, file := range files(t, want) {
				compareInstalled(t, root, strings.TrimPrefix(file, want), file)
			}
			units := presetUnits(t)
			for _, unit := range units {
				enabled(t, root, unit, "enabled")
			}
			btrfstest.Run(t, "systemctl", "--root="+root, "disable", units[0])
			told := toldAtLogin(t, root)
			btrfstest.Run(t, p.upgrade[0], append(p.upgrade[1:], packages[format])...)
			enabled(t, root, units[0], "disabled")
			if _, err := os.Stat(told); err != nil {
				t.Errorf("after an upgrade nobody is told at login: %v", err)
			}
			btrfstest.Run(t, p.removal[0], p.removal[1:]...)
			for _, file := range append(files(t, want), want+strings.TrimPrefix(told, root)) {
				if _, err := os.Lstat(filepath.Join(root, strings.TrimPrefix(file, want))); err == nil {
					t.Errorf("%s is still there", strings.TrimPrefix(file, want))
				}
			}
			left := btrfstest.Run(t, "find", filepath.Join(root, "etc/systemd"), "-name", "*impermanence*")
			if left != "" {
				t.Errorf("units are still enabled:\n%s", left)
			}
			if text := readFile(t, filepath.Join(root, "etc/impermanence/impermanence.toml")); text != "# configured\n" {
				t.Errorf("the configuration is now %q", text)
			}
			if p.initrd != "" {
				if got := readFile(t, filepath.Join(root, "dracut-ran")); got != strings.Repeat(p.initrd, 3) {
					t.Errorf("initrds were to be made when it was installed, upgraded and removed; dracut was called with\n%s", got)
				}
			}
		})
	}
}

// TestDebComesBack has dpkg install our package, remove it and install it again: what it enabled is enabled, but for what an administrator
// disabled.
func TestDebComesBack(t *testing.T) {
	root := overlay(t)
	btrfstest.Run(t, "cp", makePackages(t)["deb"], root+"/impermanence.deb")
	dpkg := func(args ...string) {
		btrfstest.Run(t, "chroot", append([]string{root, "dpkg", "--force-depends", "--no-triggers"}, args...)...)
	}
	dpkg("--install", "/impermanence.deb")
	units := presetUnits(t)
	btrfstest.Run(t, "systemctl", "--root="+root, "disable", units[0])
	told := toldAtLogin(t, root)
	dpkg("--remove", "impermanence")
	if _, err := os.Stat(told); err == nil {
		t.Errorf("%s is still there", told)
	}
	if left := btrfstest.Run(t, "find", root+"/etc/systemd", "-name", "*impermanence*"); left != "" {
		t.Errorf("units are still enabled:\n%s", left)
	}
	dpkg("--install", "/impermanence.deb")
	enabled(t, root, units[0], "disabled")
	for _, unit := range units[1:] {
		enabled(t, root, unit, "enabled")
	}
}

// toldAtLogin writes what impermanence-login-notice.service would.
func toldAtLogin(t *testing.T, root string) string {
	t.Helper()
	told := root + "/run/motd.d/impermanence.motd"
	btrfstest.Run(t, "mkdir", "--parents", filepath.Dir(told))
	writeFile(t, told, "wrong\n")
	return told
}

// TestRemovalTells runs what each package runs when it is removed, on machines that were set up, that somebody configured, and that nobody did.
func TestRemovalTells(t *testing.T) {
	root := overlay(t)
	btrfstest.Run(t, "mkdir", "--parents", root+"/etc/impermanence/conf.d", root+"/scripts")
	removed := func(script, argument string) string {
		btrfstest.Run(t, "cp", "../systemd-units/packages/"+script, root+"/scripts")
		out, err := exec.Command("chroot", root, "bash", "/scripts/"+script, argument).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	const lost, undo = "this machine is still set up", "impermanence setup --undo"
	for _, machine := range []struct{ file, tells, not string }{
		{"", "", lost},
		{"/etc/impermanence/conf.d/mine.toml.before-undo", "", lost},
		{"/etc/impermanence/conf.d/mine.json", lost, undo},
		{"/etc/impermanence/impermanence.toml", lost, undo},
		{"/etc/impermanence/setup.json", undo, "no other"},
	} {
		if machine.file != "" {
			writeFile(t, root+machine.file, "")
		}
		for script, argument := range map[string]string{"deb.prerm": "remove", "rpm.preun": "0", "arch.pre_remove": "1"} {
			if out := removed(script, argument); !strings.Contains(out, machine.tells) || strings.Contains(out, machine.not) {
				t.Errorf("%s with %q says %q", script, machine.file, out)
			}
		}
		for script, argument := range map[string]string{"deb.prerm": "upgrade", "rpm.preun": "1"} {
			if out := removed(script, argument); out != "" {
				t.Errorf("an upgrade by %s says %q", script, out)
			}
		}
	}
}

// packagerOf knows the command lines.
func packagerOf(t *testing.T, format, root string) packager {
	t.Helper()
	if format == "rpm" {
		rpm := []string{"rpm", "--root=" + root, "--force-debian", "--nodeps"}
		return packager{
			install: slices.Concat(rpm, []string{"--install"}), upgrade: slices.Concat(rpm, []string{"--upgrade", "--force"}),
			removal: slices.Concat(rpm, []string{"--erase", "impermanence"}), initrd: "--regenerate-all --force\n",
		}
	}
	// As on Arch: nfpm's script is not one for every sh.
	btrfstest.Run(t, "ln", "--symbolic", "--force", "bash", filepath.Join(root, "usr/bin/sh"))
	config := filepath.Join(t.TempDir(), "pacman.conf")
	writeFile(t, config, "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n")
	pacman := []string{"pacman", "--root=" + root, "--config=" + config, "--noconfirm", "--noprogressbar"}
	btrfstest.Run(t, "mkdir", "--parents", filepath.Join(root, "var/lib/pacman"))
	return packager{
		install: slices.Concat(pacman, []string{"--upgrade", "--nodeps", "--nodeps"}), upgrade: slices.Concat(pacman, []string{"--upgrade", "--nodeps", "--nodeps"}),
		removal: slices.Concat(pacman, []string{"--remove", "impermanence"}),
	}
}

// presetUnits are the units that installing enables.
func presetUnits(t *testing.T) []string {
	t.Helper()
	var units []string
	for line := range strings.Lines(readFile(t, "../systemd-units/system/90-impermanence.preset")) {
		if unit, ok := strings.CutPrefix(strings.TrimSpace(line), "enable "); ok {
			units = append(units, unit)
		}
	}
	return units
}

// enabled asks systemd.
func enabled(t *testing.T, root, unit, want string) {
	t.Helper()
	out, _ := exec.Command("systemctl", "--root="+root, "is-enabled", unit).Output()
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("%s is %s, not %s", unit, got, want)
	}
}
