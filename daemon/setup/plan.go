package setup

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
)

// Options are what is asked of a set-up; the zero value is a sound choice.
type Options struct {
	VolumePoint  string   // where the persistent volume is mounted; default /persist
	VolumeName   string   // its subvolume; default persist
	OldRootsName string   // default old_roots
	TemplateName string   // default root-template
	Presets      []string // to keep besides those that are found
	NoInitrd     bool     // don't build the initrd: the caller does
}

// Point gives where the persistent volume is mounted.
func (o Options) Point() string { return path.Clean(cmp.Or(o.VolumePoint, "/persist")) }

// Volume gives the persistent volume's subvolume.
func (o Options) Volume() string { return cmp.Or(o.VolumeName, "persist") }

// OldRoots gives where the old roots are kept.
func (o Options) OldRoots() string { return cmp.Or(o.OldRootsName, "old_roots") }

// Template gives the template's subvolume.
func (o Options) Template() string { return cmp.Or(o.TemplateName, "root-template") }

// Plan is what a set-up does.
type Plan struct {
	Record  Record
	Steps   []Step
	Notes   []string // what a person has to know, or do
	Resumed bool     // an earlier set-up was interrupted; this is the rest of it
}

// The reasons for which a machine is not set up.
var (
	ErrAlready      = errors.New("the machine is set up already")
	ErrConfigured   = errors.New("the root is configured as ephemeral already")
	ErrNotInstalled = errors.New("impermanence is not installed in the root")
	ErrTaken        = errors.New("the name is taken")
	ErrLayout       = errors.New("the machine's layout does not allow it")
	ErrNotSetUp     = errors.New("the machine was not set up by impermanence setup")
	ErrNoPreset     = errors.New("no such preset")
	ErrAside        = errors.New("what an undoing set aside is still there")
	ErrNested       = errors.New("a subvolume lies in what is to be kept")
	ErrChanged      = errors.New("a file was changed since the set-up was interrupted")
	ErrLists        = errors.New("what is configured already does not go with what a set-up writes")
)

// MakePlan decides what turns the machine into an impermanent one. It is pure.
func MakePlan(f Facts, o Options) (Plan, error) {
	if f.Record != nil {
		return resume(f)
	}
	if err := f.refuse(o); err != nil {
		return Plan{}, err
	}
	p := &planner{Facts: f, Options: o}
	p.record = Record{
		Version: recordVersion, RootID: f.RootID, Point: o.Point(),
		Layout:      btrfsops.Layout{Root: f.Mounts[0].Subvolume, OldRoots: o.OldRoots(), Template: o.Template()},
		Volume:      o.Volume(),
		NewVolume:   f.TopLevel[o.Volume()] == Free,
		NewOldRoots: f.TopLevel[o.OldRoots()] == Free,
		Updates:     f.Updates,
	}
	if err := errors.Join(p.record.Layout.Check(), p.record.checkVolume()); err != nil {
		return Plan{}, err
	}
	text, err := p.config()
	if err != nil {
		return Plan{}, err
	}
	p.write(configFile, text)
	if f.ChangedConfig {
		p.note("%[1]s is written anew: what is in %[1]s%[2]s and is to count again has to be added", configFile, asideSuffix)
	}
	p.write(fstabFile, p.fstab())
	p.bootLoader()
	p.initrd()
	p.shared()
	p.nested()
	for _, unit := range f.unitNames() {
		if !f.Units[unit] {
			p.record.Units = append(p.record.Units, unit)
		}
	}
	return Plan{Record: p.record, Steps: p.record.steps(), Notes: p.notes}, nil
}

// Check tells what is wrong with the configuration that a plan writes, beside what is configured already. It changes nothing.
func (p Plan) Check(root string) error {
	c, found := p.Record.change(configFile)
	if !found {
		return nil
	}
	if _, err := config.Load(config.LoadOptions{Root: root, Main: []byte(c.Written)}); err != nil {
		return fmt.Errorf("%w: %w", ErrLists, err)
	}
	return nil
}

// resume gives the rest of a set-up that was begun; what was asked for then counts. What somebody has made of a file since would be
// written over.
func resume(f Facts) (Plan, error) {
	r := *f.Record
	if f.RootID != r.RootID || f.TopLevel[r.Layout.Template] == Subvolume {
		return Plan{}, ErrAlready
	}
	for _, c := range r.Files {
		now, there := f.Files[c.Path]
		asBefore := there == (c.Former != nil) && (!there || now == *c.Former)
		if !asBefore && now != c.Written {
			return Plan{}, fmt.Errorf("%w: %s: undo what was begun, then set up anew", ErrChanged, c.Path)
		}
	}
	return Plan{Record: r, Steps: r.steps(), Resumed: true}, nil
}

// planner makes a plan.
type planner struct {
	Facts
	Options
	record Record
	notes  []string
}

// write plans a file's new text, when it differs.
func (p *planner) write(name, text string) {
	former, there := p.Files[name]
	if there && former == text {
		return
	}
	change := FileChange{Path: name, Written: text}
	if there {
		change.Former = &former
	}
	p.record.Files = append(p.record.Files, change)
}

func (p *planner) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// shared notes what is on the file system already, as another system on it may use it as well.
func (p *planner) shared() {
	if p.Filled[p.record.Volume] {
		p.note("the subvolume %q is there already: what is on it counts, where the root has something else; if it is of another system, give another name with --subvolume", p.record.Volume)
	}
	if p.Filled[p.record.Layout.OldRoots] {
		p.note("%q is there already: subvolumes in it are taken for old roots of this machine, and pruned as such", p.record.Layout.OldRoots)
	}
}

// nested notes which subvolumes inside the root go with it.
func (p *planner) nested() {
	for _, path := range p.Nested {
		p.note("the subvolume %s in the root becomes a part of an old root, and is deleted with that one day; fresh roots have an empty directory there: to keep it %s, and mount it from fstab", path, p.moveOut(path))
	}
}

// fstab adds the volume, and lets the root's line name it by its path only, and with noatime instead of relatime, which nobody chooses: tools
// that write fstab write what is in force. Without either, early boot mounts a fresh root with noatime.
func (p *planner) fstab() string {
	table := p.table()
	options := []string{"defaults"}
	for i, line := range table {
		if line.Point != "/" {
			continue
		}
		if _, byID := line.Option("subvolid"); byID {
			table[i] = line.WithOptions(byPath(line.Options, p.record.Layout.Root))
		}
		if at := slices.Index(table[i].Options, "relatime"); at >= 0 {
			fresh := slices.Clone(table[i].Options)
			fresh[at] = "noatime"
			table[i] = table[i].WithOptions(fresh)
		}
		options = slices.DeleteFunc(slices.Clone(line.Options), perMount)
	}
	if line, found := table.At(p.Point()); found {
		if _, early := line.Option("x-initrd.mount"); !early {
			i := slices.IndexFunc(table, func(l fstab.Line) bool { return l.Text == line.Text })
			table[i] = line.WithOptions(append(slices.Clone(line.Options), "x-initrd.mount"))
		}
		return table.String()
	}
	options = append(options, "subvol=/"+p.Volume(), "x-initrd.mount")
	return append(table, fstab.NewLine(p.device(), p.Point(), "btrfs", options, "0 0")).String()
}

// byPath replaces subvolid= by subvol=.
func byPath(options []string, subvolume string) []string {
	kept := slices.DeleteFunc(slices.Clone(options), func(o string) bool {
		return strings.HasPrefix(o, "subvolid=") || strings.HasPrefix(o, "subvol=")
	})
	return append(kept, "subvol=/"+subvolume)
}

// perMount tells which options of the root's line are not for the volume beside it.
func perMount(option string) bool {
	name, _, _ := strings.Cut(option, "=")
	return name == "subvol" || name == "subvolid" || name == "ro" || strings.HasPrefix(name, "x-") || name == "errors"
}

// bootLoader plans that kernel command lines name the root by its path, or leave it to the default subvolume when that is the
// root: it follows the root at every rollover.
func (p *planner) bootLoader() {
	subvolume := p.record.Layout.Root
	generated, right := false, false
	for _, file := range p.Boot {
		for _, line := range file.Lines {
			switch ours, fresh := p.boots(line, subvolume); {
			case !ours:
			case fresh:
				right = true
			case file.Form == machine.GrubConfig:
				generated = true
			default:
				p.write(file.Path, file.Booting(subvolume))
				right = true
			}
		}
	}
	if generated && len(p.GrubTool) > 0 {
		for _, file := range p.Boot {
			if file.Form == machine.GrubDefaults {
				p.write(file.Path, file.Booting(subvolume))
				p.record.Grub = p.GrubTool
				return
			}
		}
	}
	runs, runsFresh := p.boots(p.Running, subvolume)
	if p.Running == "" || !runs { // another system's, as an installation medium's
		runsFresh = p.DefaultID == p.RootID
	}
	switch {
	case generated:
		p.note("grub.cfg boots the root without rootflags=subvol=%s: add that to the kernel command line where grub.cfg is generated from", subvolume)
	case right, runsFresh:
	case len(p.Boot) == 0:
		p.note("no boot loader configuration was found: the kernel command line must have rootflags=subvol=%s", subvolume)
	default:
		p.note("no kernel command line was found that boots this root: it must have rootflags=subvol=%s", subvolume)
	}
}

// boots tells whether a kernel command line is for the root, and whether it boots a fresh one in its place, too: by the path of its subvolume, or by
// default.
func (f *Facts) boots(line, subvolume string) (ours, fresh bool) {
	c := machine.ParseCmdline(line)
	ours = machine.MayBoot(line, subvolume, f.UUID, append([]string{f.rootSpec()}, f.Names...)) &&
		(c.Subvol != "" || c.SubvolID == "" || c.SubvolID == fmt.Sprint(f.RootID))
	return ours, c.Boots(subvolume) || f.DefaultID == f.RootID && c.Subvol == "" && c.SubvolID == ""
}

// initrd plans its building anew.
func (p *planner) initrd() {
	switch {
	case p.Initrd == nil:
		p.note("nothing is known that builds this machine's initrd: it has to run %s", stub)
		return
	case p.Initrd.Name == "mkinitcpio":
		p.write(mkinitcpioFile, mkinitcpioHooks)
		for _, preset := range p.OwnHooks {
			p.note("%s names a configuration, and then mkinitcpio does not read %s: take that out of the preset, or add sd-impermanence (impermanence, without systemd) to HOOKS there", preset, mkinitcpioFile)
		}
	}
	p.record.Initrd, p.record.NoInitrd = p.Initrd.Rebuild, p.NoInitrd
	if p.NoInitrd {
		p.note("the initrd is not built, as asked: it has to be before the next boot (%s)", strings.Join(p.Initrd.Rebuild, " "))
	}
}

// mkinitcpioHooks puts early boot where it belongs, whatever HOOKS are. To name a hook that is gone with the package would be an error.
const mkinitcpioHooks = `# Written by impermanence setup: early boot, in a systemd or in a busybox initrd, as long as the package is installed.
if [[ ! -e /usr/lib/initcpio/install/impermanence ]]; then
	:
elif [[ " ${HOOKS[*]} " == *' systemd '* ]]; then
	HOOKS+=(sd-impermanence)
else
	HOOKS=(${HOOKS[*]/filesystems/impermanence filesystems})
fi
`
