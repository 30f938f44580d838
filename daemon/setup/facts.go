package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/persist"
)

// Facts are what a set-up is decided upon: all that was found out about a machine, without having changed anything.
type Facts struct {
	Distribution string
	Mounts       []machine.Mount // the root first
	UUID         string          // of the root's file system
	Names        []string        // what else root= may call it
	Own          map[string]bool // what fstab mounts subvolumes from -> that is the root's file system
	RootID       btrfsops.SubvolumeID
	DefaultID    btrfsops.SubvolumeID // the default subvolume
	TopLevel     map[string]Place     // what there is at the paths of what a set-up would make
	Filled       map[string]bool      // those that have something in them

	Files     map[string]string  // the text of files that may change, by path; one that is not there is missing
	Boot      []machine.BootFile // what kernel command lines come from
	Running   string             // the running kernel's command line; "" for a root that does not run
	GrubTool  []string
	Updates   [][]string // commands that do what the first boot would
	Initrd    *machine.InitrdTool
	OwnHooks  []string        // presets of mkinitcpio that give it another configuration, with which it reads no drop-ins
	Installed bool            // early boot's program and the initrd tool's hook are there
	Units     map[string]bool // the units to enable -> enabled now
	Presets   []Preset        // what is worth keeping, for what is installed
	Asked     []Preset        // those that were asked for
	Data      []string        // directories with data that no preset names
	Database  string          // of packages, as the machine sees it; "" for none that is known
	Swap      []string        // swap files in the root's subvolume
	Nested    []string        // subvolumes inside the root's that are not empty
	Config    *config.Config  // the configuration so far
	Record    *Record         // of an earlier set-up
	Dependent []string        // files of the configuration, beside the one that a set-up writes, that mean nothing without the set-up
	Aside     []string        // those that an undoing set aside

	Hidden        bool // the root itself has something in the volume's place
	Undone        bool // the volume is left of a set-up that was undone
	ChangedConfig bool // an undoing kept what a person had made of the configuration that a set-up wrote
}

// Place is what there is at a path below the top level.
type Place uint8

// The places.
const (
	Free      Place = iota // nothing, in a directory that is there
	Nowhere                // nothing, nor a directory for it
	Subvolume              // a subvolume
	Directory              // a plain directory
	Other                  // a file, a symlink
)

// Preset is a preset of the machine, with its entries.
type Preset struct {
	Name    string
	Entries []persist.Entry
}

// Files that a set-up may write, besides the boot loader's.
const (
	configFile     = "/etc/impermanence/impermanence.toml"
	fstabFile      = "/etc/fstab"
	mkinitcpioFile = "/etc/mkinitcpio.conf.d/zz-impermanence.conf" // read last: others may set HOOKS
	presetFile     = "/usr/lib/systemd/system-preset/90-impermanence.preset"
	stub           = "/usr/lib/impermanence/impermanence-initrd"
)

// ErrNotBtrfs is returned for a machine whose root is not on btrfs.
var ErrNotBtrfs = errors.New("the root is not on btrfs")

// Gather looks at the machine whose root is mounted at root, "/" for the running one.
func Gather(root string, o Options) (Facts, error) {
	f := Facts{Distribution: machine.Distribution(root), Files: map[string]string{}, TopLevel: map[string]Place{}, Filled: map[string]bool{}, Own: map[string]bool{}}
	var err error
	if f.Mounts, err = machine.Mounts(root); err != nil {
		return f, err
	}
	if f.Mounts[0].Type != "btrfs" {
		return f, fmt.Errorf("%w: %s is %s", ErrNotBtrfs, root, f.Mounts[0].Type)
	}
	for _, step := range []func(string, Options) error{f.configuration, f.filesystem, f.texts, f.boot, f.systemd} {
		if err := step(root, o); err != nil {
			return f, fmt.Errorf("look at %s: %w", root, err)
		}
	}
	for _, name := range o.Presets {
		entries, err := presetEntries(root, name)
		if err != nil {
			return f, err
		}
		f.Asked = append(f.Asked, Preset{name, entries})
	}
	if f.Presets, err = f.findPresets(root); err != nil {
		return f, err
	}
	if f.Data, err = f.findData(root); err != nil {
		return f, fmt.Errorf("look for data: %w", err)
	}
	f.Database = machine.Database(root)
	active, _ := os.ReadFile("/proc/swaps")
	f.Swap = f.findSwap(root, string(active))
	if f.onRoot(o.Point()) {
		place := filepath.Join(root, o.Point())
		if f.Hidden, err = hasEntries(place); err != nil {
			return f, fmt.Errorf("look at the volume's place: %w", err)
		}
		info, err := os.Lstat(place)
		f.Hidden = f.Hidden || err == nil && !info.IsDir()
	}
	for _, line := range f.table() {
		_, known := f.Own[line.Spec]
		if _, some := line.Option("subvol"); (some || line.Point == "/") && !known {
			f.Own[line.Spec] = f.own(line.Spec)
		}
	}
	return f, nil
}

// filesystem looks at the subvolumes.
func (f *Facts) filesystem(root string, o Options) error {
	top, err := btrfsops.OpenDevice(f.Mounts[0].Source)
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	f.UUID = top.UUID()
	if f.DefaultID, err = top.DefaultSubvolume(); err != nil {
		return err
	}
	if f.Mounts[0].Subvolume != "" {
		info, err := top.SubvolumeAt(f.Mounts[0].Subvolume)
		if err != nil {
			return err
		}
		f.RootID = info.ID
		if f.Nested, err = nested(top, f.Mounts[0].Subvolume, root); err != nil {
			return err
		}
	}
	names := []string{o.Volume(), o.OldRoots(), o.Template()}
	if f.Record != nil {
		names = append(names, f.Record.Layout.Template) // whatever is asked for now
	}
	for _, name := range names {
		if f.TopLevel[name], err = placeAt(top, name); err != nil {
			return err
		}
		if f.Filled[name], err = hasEntries(filepath.Join(top.Top(), name)); err != nil {
			return err
		}
	}
	if f.TopLevel[o.Volume()] != Subvolume {
		return nil
	}
	_, err = os.Lstat(filepath.Join(top.Top(), o.Volume(), undoneMark))
	f.Undone = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// placeAt tells what there is at a path below the top level. What is no such path is for the layout's check to refuse.
func placeAt(top *btrfsops.Filesystem, name string) (Place, error) {
	_, err := top.SubvolumeAt(name)
	switch {
	case err == nil:
		return Subvolume, nil
	case !fs.ValidPath(name):
		return Free, nil
	case errors.Is(err, btrfsops.ErrNotSubvolume):
		if isDirectory(filepath.Join(top.Top(), name)) {
			return Directory, nil
		}
		return Other, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Free, err
	}
	if _, err := os.Stat(filepath.Join(top.Top(), filepath.Dir(name))); err != nil {
		return Nowhere, nil //nolint:nilerr // or it can't be read
	}
	return Free, nil
}

// isDirectory tells whether there is a directory, not a symlink to one.
func isDirectory(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.IsDir()
}

// nested lists the subvolumes inside the root that hold something, as the machine sees them. Empty ones, as systemd makes them
// for /var/lib/machines, are directories in the template, which do as well.
func nested(top *btrfsops.Filesystem, subvolume, root string) ([]string, error) {
	inside, err := top.SubvolumesIn(subvolume)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range inside {
		some, err := hasEntries(filepath.Join(root, p))
		if err != nil {
			return nil, err
		}
		if some {
			found = append(found, "/"+p)
		}
	}
	return found, nil
}

// texts reads the files that may change.
func (f *Facts) texts(root string, _ Options) error {
	for _, name := range []string{configFile, fstabFile, mkinitcpioFile} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			f.Files[name] = string(text)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// boot looks at what boots the machine.
func (f *Facts) boot(root string, _ Options) error {
	var err error
	if f.Names, err = machine.Names(context.Background(), f.Mounts[0].Source); err != nil {
		return err
	}
	if f.Boot, err = machine.BootFiles(root); err != nil {
		return err
	}
	for _, file := range f.Boot {
		f.Files[file.Path] = file.Text
	}
	if root == "/" {
		line, err := os.ReadFile("/proc/cmdline")
		if err != nil {
			return err
		}
		f.Running = strings.TrimSpace(string(line))
	}
	f.GrubTool = machine.GrubTool(root)
	f.Updates = machine.Updates(root)
	hooks := map[string]string{
		"initramfs-tools": "/usr/share/initramfs-tools/hooks/impermanence",
		"dracut":          "/usr/lib/dracut/modules.d/90impermanence/module-setup.sh",
		"mkinitcpio":      "/usr/lib/initcpio/install/impermanence",
	}
	if tool, found := machine.FindInitrdTool(root); found {
		f.Initrd, f.OwnHooks = &tool, ownHooks(root)
		f.Installed = machine.FirstFile(root, stub) != "" && machine.FirstFile(root, hooks[tool.Name]) != ""
	}
	return nil
}

// ownHooks lists the presets of mkinitcpio that name a configuration, as those of the packages did before it read drop-ins.
func ownHooks(root string) []string {
	var found []string
	files, _ := filepath.Glob(filepath.Join(root, "/etc/mkinitcpio.d/*.preset"))
	named := regexp.MustCompile(`(?m)^[ \t]*\w+_config=["']?[^"'\s]`)
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && named.Match(text) {
			found = append(found, filepath.Join("/etc/mkinitcpio.d", filepath.Base(file)))
		}
	}
	return found
}

// configuration reads the configuration and the record of an earlier set-up.
func (f *Facts) configuration(root string, _ Options) error {
	var err error
	if f.Record, err = readRecord(root); err != nil {
		return err
	}
	if f.Config, err = config.Load(config.LoadOptions{Root: root}); err != nil {
		return err
	}
	return f.lists(root)
}

// systemd looks which units are to be enabled, and are.
func (f *Facts) systemd(root string, _ Options) error {
	f.Units = map[string]bool{}
	text, err := os.ReadFile(filepath.Join(root, presetFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not installed: Plan says so
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if unit, found := strings.CutPrefix(strings.TrimSpace(line), "enable "); found {
			f.Units[unit] = exec.Command("systemctl", "--root="+root, "--quiet", "is-enabled", unit).Run() == nil
		}
	}
	return nil
}

// table is fstab, read.
func (f *Facts) table() fstab.Table { return fstab.Parse(f.Files[fstabFile]) }

// onRoot tells whether a path is on the root's own subvolume.
func (f *Facts) onRoot(path string) bool { return machine.On(f.Mounts, path).Point == "/" }

// rootSpec gives how fstab names the root's device; "" where it does not. It is not what the root was mounted by: it may lead elsewhere.
func (f *Facts) rootSpec() string {
	line, _ := f.table().At("/")
	return line.Spec
}

// device gives how fstab should name the file system: as it does for the root, where that leads there, else by UUID.
func (f *Facts) device() string {
	if spec := f.rootSpec(); f.Own[spec] {
		return spec
	}
	return "UUID=" + f.UUID
}

// leadsHere tells whether a line of fstab is about the root's file system: by what leads there, or as it names the root's.
func (f *Facts) leadsHere(line fstab.Line) bool { return f.Own[line.Spec] || line.Spec == f.rootSpec() }

// own tells whether a device as fstab names it is of the root's file system.
func (f *Facts) own(spec string) bool {
	if strings.Contains(strings.ToLower(spec), f.UUID) || slices.Contains(f.Names, spec) {
		return true
	}
	device, err := exec.Command("findfs", spec).Output() // gives a path as it is
	if err != nil {
		return false
	}
	found, err := machine.Probe(context.Background(), strings.TrimSpace(string(device)))
	return err == nil && found["UUID"] == f.UUID
}

// unitNames lists the units to enable.
func (f *Facts) unitNames() []string {
	var names []string
	for name := range f.Units {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
