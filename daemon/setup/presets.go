package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
)

// evidence says for which presets what has to be installed; none for those that every machine wants. What a preset names and no
// row here has (accounts, nixos, …) is chosen only when asked for.
var evidence = []struct {
	preset string
	files  []string // any of them
}{
	{"machine-id", nil},
	{"logs", nil},
	{"lastlog", []string{"/usr/bin/lastlog2", "/usr/bin/wtmpdb"}},
	{"random-seed", nil},
	{"timers", nil},
	{"clock", nil},
	{"ssh-host-keys", []string{"/usr/sbin/sshd", "/usr/bin/sshd"}},
	{"chrony", []string{"/usr/sbin/chronyd", "/usr/bin/chronyd"}},
	{"coredump", []string{"/usr/lib/systemd/systemd-coredump"}},
	{"linger", []string{"/usr/lib/systemd/systemd-logind"}},
	{"rfkill", []string{"/usr/lib/systemd/systemd-rfkill"}},
	{"networkmanager", []string{"/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"}},
	{"netplan", []string{"/usr/sbin/netplan", "/usr/libexec/netplan/generate"}},
	{"iwd", []string{"/usr/libexec/iwd", "/usr/lib/iwd/iwd"}},
	{"bluetooth", []string{"/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd", "/usr/sbin/bluetoothd"}},
	{"cups", []string{"/usr/sbin/cupsd", "/usr/bin/cupsd"}},
	{"cron", []string{"/usr/sbin/cron", "/usr/sbin/crond", "/usr/bin/crond", "/usr/sbin/anacron"}},
	{"alsa", []string{"/usr/sbin/alsactl", "/usr/bin/alsactl"}},
	{"colord", []string{"/usr/libexec/colord", "/usr/lib/colord"}},
	{"power", []string{"/usr/libexec/upowerd", "/usr/lib/upowerd", "/usr/libexec/upower/upowerd", "/usr/libexec/power-profiles-daemon", "/usr/lib/power-profiles-daemon"}},
	{"fprint", []string{"/usr/libexec/fprintd", "/usr/lib/fprintd"}},
	{"bolt", []string{"/usr/libexec/boltd", "/usr/lib/boltd"}},
	{"flatpak", []string{"/usr/bin/flatpak"}},
	{"docker", []string{"/usr/bin/dockerd", "/usr/sbin/dockerd"}},
	{"podman", []string{"/usr/bin/podman"}},
	{"libvirt", []string{"/usr/sbin/libvirtd", "/usr/sbin/virtqemud", "/usr/bin/libvirtd", "/usr/bin/virtqemud"}},
	{"fwupd", []string{"/usr/libexec/fwupd/fwupd", "/usr/lib/fwupd/fwupd"}},
	{"tailscale", []string{"/usr/sbin/tailscaled", "/usr/bin/tailscaled"}},
	{"secure-boot", []string{"/usr/bin/sbctl"}},
	{"sudo-lecture", []string{"/usr/bin/sudo"}},
}

// dataDirectories hold what people and programs made, and no preset names. One that is there, not empty and on the root itself
// is kept: a set-up must not cost anybody a home or a database.
var dataDirectories = []string{
	"/home", "/root", "/srv",
	"/var/spool/cron", "/var/mail", "/var/spool/mail", "/var/www",
	"/var/lib/postgresql", "/var/lib/pgsql", "/var/lib/mysql", "/var/lib/mariadb", "/var/lib/redis", "/var/lib/mongodb",
	"/var/lib/incus", "/var/lib/lxd", "/var/lib/lxc",
	"/var/lib/AccountsService",
}

// findPresets chooses presets by what is installed, and reads them. One that is not there keeps nothing.
func (f *Facts) findPresets(root string) ([]Preset, error) {
	var found []Preset
	for _, e := range evidence {
		if len(e.files) > 0 && machine.FirstFile(root, e.files...) == "" {
			continue
		}
		if machine.FirstFile(root, "/etc/impermanence/presets/"+e.preset+".toml", "/usr/lib/impermanence/presets/"+e.preset+".toml") == "" {
			continue
		}
		entries, err := presetEntries(root, e.preset)
		if err != nil {
			return nil, err
		}
		found = append(found, Preset{e.preset, entries})
	}
	return found, nil
}

// presetEntries reads a preset of the machine.
func presetEntries(root, name string) ([]persist.Entry, error) {
	probe, err := os.CreateTemp("", "impermanence-*.toml")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(probe.Name()) }()
	_, err = probe.WriteString("[persistence.\"/persist\"]\nhideMounts = true\npresets = [\"" + name + "\"]\n")
	if err := errors.Join(err, probe.Close()); err != nil {
		return nil, err
	}
	c, err := config.Load(config.LoadOptions{Root: root, Path: probe.Name()})
	var problems config.Errors
	if errors.As(err, &problems) && problems[0].File == probe.Name() {
		return nil, fmt.Errorf("%w: preset %s; %s", ErrNoPreset, problems[0].Message, problems[0].Hint)
	}
	if err != nil {
		return nil, fmt.Errorf("read the preset %s: %w", name, err)
	}
	return c.Entries(), nil
}

// configured tells whether a place, or a directory around it, is an entry of the configuration so far.
func (f *Facts) configured(place string) bool {
	return slices.ContainsFunc(f.Config.Entries(), func(e persist.Entry) bool { return machine.Within(place, e.Target) })
}

// inPreset tells whether a chosen preset keeps a place.
func (f *Facts) inPreset(place string) bool {
	return slices.ContainsFunc(f.Presets, func(p Preset) bool {
		return slices.ContainsFunc(p.Entries, func(e persist.Entry) bool { return machine.Within(place, e.Target) })
	})
}

// findData lists directories with data on the root itself: the usual ones, and the homes of people that lie elsewhere. What is a
// symlink is followed.
func (f *Facts) findData(root string) ([]string, error) {
	passwd, err := os.ReadFile(filepath.Join(root, "/etc/passwd"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dirs := slices.Clone(dataDirectories)
	for _, home := range persist.Homes(passwd) {
		dirs = append(dirs, home.Dir)
	}
	var found []string
	for _, dir := range dirs {
		place, err := machine.Resolve(root, dir)
		if errors.Is(err, fs.ErrNotExist) || err != nil && !f.onRoot(dir) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if place == "/" || !f.onRoot(place) || f.configured(place) || f.inPreset(place) {
			continue
		}
		some, err := hasEntries(filepath.Join(root, place))
		if err != nil {
			return nil, err
		}
		if some && !slices.ContainsFunc(found, func(outer string) bool { return machine.Within(place, outer) }) {
			found = append(found, place)
		}
	}
	return found, nil
}

// hasEntries tells whether a directory, not a symlink to one, has something in it. What can't be read is not empty: it is an error.
func hasEntries(dir string) (bool, error) {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.IsDir() {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	return len(entries) > 0, err
}

// choice divides presets into those to name, which lie on the root with all that they keep, and single entries of the others:
// what lies on another file system persists by itself.
func (f *Facts) choice(extra []string) (names []string, single []persist.Entry) {
	for _, p := range f.Presets {
		var here []persist.Entry
		for _, e := range p.Entries {
			if f.onRoot(e.Target) && !f.configured(e.Target) {
				here = append(here, e)
			}
		}
		if len(here) == len(p.Entries) {
			names = append(names, p.Name)
		} else {
			single = append(single, here...)
		}
	}
	for _, name := range extra {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, single
}
