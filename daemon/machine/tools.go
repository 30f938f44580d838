package machine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// InitrdTool makes the initrds of a machine.
type InitrdTool struct {
	Name    string   // "initramfs-tools", "dracut" or "mkinitcpio"
	Rebuild []string // the command that makes all of them anew
}

// initrdTools are looked for in this order: a machine can have dracut beside its own. What is left of initramfs-tools on a Debian that has gone
// over to dracut has mkinitramfs still, and nothing that makes all of them.
var initrdTools = []struct {
	file string
	tool InitrdTool
}{
	{"/usr/sbin/update-initramfs", InitrdTool{"initramfs-tools", []string{"update-initramfs", "-u", "-k", "all"}}},
	{"/usr/bin/mkinitcpio", InitrdTool{"mkinitcpio", []string{"mkinitcpio", "-P"}}},
	{"/usr/bin/dracut", InitrdTool{"dracut", []string{"dracut", "--force", "--regenerate-all"}}},
}

// FindInitrdTool tells what makes the initrds; false when nothing that is known does.
func FindInitrdTool(root string) (InitrdTool, bool) {
	for _, t := range initrdTools {
		if FirstFile(root, t.file, strings.Replace(t.file, "/usr/sbin", "/usr/bin", 1)) != "" {
			return t.tool, true
		}
	}
	return InitrdTool{}, false
}

// updates make what is made of /usr, as the units with ConditionNeedsUpdate= do, and note that it is done: systemd.unit(5). Each is run where
// its program is.
var updates = []struct {
	file    string
	command []string
}{
	{"/usr/bin/systemd-sysusers", []string{"systemd-sysusers"}},
	{"/usr/sbin/ldconfig", []string{"ldconfig"}},
	{"/usr/bin/journalctl", []string{"journalctl", "--update-catalog"}},
	{updateDone, []string{updateDone}},
}

const updateDone = "/usr/lib/systemd/systemd-update-done"

// Updates gives the commands that do to a root what systemd does at the first boot after /usr has changed; none when that is done, or
// systemd would not know it. To a fresh root of a template to which it was not done, it would be done at every boot.
func Updates(root string) [][]string {
	if FirstFile(root, updateDone) == "" || updated(root, "/etc") && updated(root, "/var") {
		return nil
	}
	var commands [][]string
	for _, u := range updates {
		if FirstFile(root, u.file, strings.Replace(u.file, "/usr/sbin", "/usr/bin", 1)) != "" {
			commands = append(commands, u.command)
		}
	}
	return commands
}

// updated tells whether a directory is noted to be no older than /usr.
func updated(root, dir string) bool {
	usr, err := os.Stat(filepath.Join(root, "/usr"))
	if err != nil {
		return false
	}
	noted, err := os.Stat(filepath.Join(root, dir, ".updated"))
	return err == nil && !noted.ModTime().Before(usr.ModTime())
}

// GrubTool gives the command that makes grub.cfg anew; none when the machine has no GRUB.
func GrubTool(root string) []string {
	switch {
	case FirstFile(root, "/usr/sbin/update-grub") != "":
		return []string{"update-grub"}
	case FirstFile(root, "/usr/sbin/grub2-mkconfig", "/usr/bin/grub2-mkconfig") != "":
		return []string{"grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"}
	case FirstFile(root, "/usr/bin/grub-mkconfig", "/usr/sbin/grub-mkconfig") != "":
		return []string{"grub-mkconfig", "-o", "/boot/grub/grub.cfg"}
	}
	return nil
}

// Kernels lists the kernel versions that have modules below root, sorted as text.
func Kernels(root string) []string {
	found, err := filepath.Glob(filepath.Join(root, "/usr/lib/modules/*/modules.dep"))
	if err != nil || len(found) == 0 {
		found, _ = filepath.Glob(filepath.Join(root, "/lib/modules/*/modules.dep"))
	}
	var versions []string
	for _, file := range found {
		versions = append(versions, filepath.Base(filepath.Dir(file)))
	}
	slices.Sort(versions)
	return versions
}

// Distribution is PRETTY_NAME of os-release(5); "Linux" where there is none.
func Distribution(root string) string {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if value, found := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); found {
				return strings.Trim(value, `"'`)
			}
		}
	}
	return "Linux"
}
