package check

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/template"
)

// Level says how bad a finding is.
type Level string

// The levels.
const (
	Error   Level = "error"   // the machine is not impermanent, does not boot, or loses something
	Warning Level = "warning" // it works, and something is worth knowing
)

// Finding is something that is wrong, with what to do about it.
type Finding struct {
	ID    string // never changes: for scripts
	Level Level
	What  string
	Try   string // a command, or in words what to change
}

// Judge says what is wrong, the worst first. It is pure.
func Judge(f Facts) []Finding {
	j := &judge{Facts: f}
	for _, rule := range []func(){j.configuration, j.root, j.commandLine, j.thisBoot, j.initrd, j.units, j.volumes, j.template, j.packages, j.filesystem, j.swap} {
		rule()
	}
	slices.SortStableFunc(j.found, func(a, b Finding) int { return strings.Compare(string(a.Level), string(b.Level)) })
	return j.found
}

type judge struct {
	Facts
	found []Finding
}

func (j *judge) add(level Level, id, try, what string, args ...any) {
	j.found = append(j.found, Finding{ID: id, Level: level, What: fmt.Sprintf(what, args...), Try: try})
}

func (j *judge) configuration() {
	var problems config.Errors
	switch {
	case errors.As(j.ConfigErr, &problems):
		for _, p := range problems {
			j.add(Error, "configuration", fmt.Sprintf("edit %s, line %d", p.File, p.Line), "%v", p)
		}
	case j.ConfigErr != nil:
		j.add(Error, "configuration", "ls -l /etc/impermanence", "%v", j.ConfigErr)
	case j.Root == nil:
		j.add(Error, "not-configured", "sudo impermanence setup --dry-run", "no configuration says that the root is fresh at every boot")
	}
}

// root holds the root against the configuration.
func (j *judge) root() {
	switch {
	case j.Root == nil:
	case j.Filesystem != nil:
		j.add(Error, "file-system", "findmnt /", "the root's file system: %v", j.Filesystem)
	case j.RootID == 0:
		j.add(Error, "no-root", "sudo btrfs subvolume list /", "there is no subvolume %q, which is configured as the root", j.Root.Subvolume)
	case j.Mounts[0].Subvolume != j.Root.Subvolume:
		try := fmt.Sprintf("put rootflags=subvol=%s on the kernel command line", j.Root.Subvolume)
		if !machine.Within(j.Mounts[0].Subvolume, j.Root.OldRoots) {
			try += fmt.Sprintf(", or subvolume = %q into the configuration", j.Mounts[0].Subvolume)
		}
		j.add(Error, "other-root", try, "the root is subvolume %q, and %q is configured", j.Mounts[0].Subvolume, j.Root.Subvolume)
	}
}

// commandLine looks for what would boot an old root for ever, or another subvolume.
func (j *judge) commandLine() {
	if j.Root == nil {
		return
	}
	lines := map[string][]string{}
	for _, file := range j.Boot {
		for _, line := range file.Lines {
			if machine.For(line, j.UUID, j.Names) && !j.another(file, line) {
				lines[file.Path] = append(lines[file.Path], line)
			}
		}
	}
	if j.Running != "" {
		lines["/proc/cmdline"] = []string{j.Running}
	}
	for _, file := range slices.Sorted(maps.Keys(lines)) {
		for _, line := range lines[file] {
			if j.oneLine(file, line) {
				break // one is enough for each file
			}
		}
	}
	if line, found := j.Fstab.At("/"); found {
		if id, byID := line.Option("subvolid"); byID {
			j.add(Warning, "fstab-subvolid", fmt.Sprintf("edit /etc/fstab: subvol=%s in place of subvolid=%s", j.Root.Subvolume, id),
				"fstab mounts the root by subvolid=%s, which a fresh root does not have", id)
		}
		if option, wanted := line.AccessTimes(); wanted && j.Root.Template != "" {
			j.add(Warning, "fstab-atime", fmt.Sprintf("edit /etc/fstab: noatime in place of %s, unless somebody wants access times", option),
				"fstab mounts the root with %s: each boot writes an access time of each file that it reads", option)
		}
	}
}

// another tells whether a command line boots another system on the root's file system by its subvolume's id.
func (j *judge) another(file machine.BootFile, line string) bool {
	c := machine.ParseCmdline(line)
	shared := file.Form == machine.LoaderEntry || file.Form == machine.GrubConfig
	return shared && j.Others[c.SubvolID] && c.Subvol != j.Root.Subvolume
}

// oneLine judges a command line, and by it, when it says nothing of the root, what each initrd has dracut take in its place.
func (j *judge) oneLine(file, line string) bool {
	want := "rootflags=subvol=" + j.Root.Subvolume
	if machine.ParseCmdline(line).Root == "" {
		built := false
		for _, i := range j.Initrds {
			if machine.ParseCmdline(i.Cmdline).Root == "" {
				continue
			}
			built = true
			try := fmt.Sprintf("put root=UUID=%s %s on the kernel command line (%s)", j.UUID, want, file)
			if j.boots(file, file+" has no root=, so that "+i.File, try, i.Cmdline+" "+line) {
				return true
			}
		}
		if built {
			return false
		}
	}
	return j.boots(file, file, fmt.Sprintf("put %s on the kernel command line (%s)", want, file), line)
}

// boots judges what a command line boots; who says who boots it.
func (j *judge) boots(file, who, try, line string) bool {
	c := machine.ParseCmdline(line)
	switch {
	case c.Root == "fstab": // as on NixOS: the initrd's own says it
		return false
	case c.SubvolID != "":
		j.add(Error, "rootflags-subvolid", try, "%s boots the root by subvolid=%s: that stays the same old root at every boot", who, c.SubvolID)
	case c.Subvol == "" && j.DefaultID != j.RootID && j.RootID != 0:
		j.add(Error, "rootflags", try, "%s boots the default subvolume, %d, and the root is %d", who, j.DefaultID, j.RootID)
	case c.Subvol != "" && c.Subvol != j.Root.Subvolume && file == "/proc/cmdline":
		j.add(Error, "rootflags", try, "this boot was from subvolume %q, and %q is configured", c.Subvol, j.Root.Subvolume)
	default:
		return false
	}
	return true
}

// thisBoot looks at what early boot did.
func (j *judge) thisBoot() {
	if !j.Runs || j.Root == nil {
		return
	}
	for _, r := range j.Rollover {
		if r.Outcome == btrfsops.OutcomeFailed {
			j.add(Error, "rollover-failed", "journalctl -b -u impermanence-rollover.service", "this boot has no fresh root at %s: %s", r.MountPoint, r.Error)
		}
	}
	if len(j.Rollover) == 0 {
		j.add(Warning, "no-rollover", "reboot", "early boot left no record at this boot: it did not run yet, or is not a part of the initrd")
	}
}

func (j *judge) initrd() {
	if j.Root == nil {
		return
	}
	rebuild := "build the initrd again"
	if j.InitrdTool != nil {
		rebuild = "sudo " + strings.Join(j.InitrdTool.Rebuild, " ")
		if j.Template != nil {
			rebuild = "sudo impermanence template run --also-now -- " + strings.Join(j.InitrdTool.Rebuild, " ")
		}
	}
	others := machine.LoadedByOthers(j.Boot, j.Root.Subvolume, j.UUID, j.Names)
	for _, i := range j.Initrds {
		switch {
		case others[i.File]:
		case i.Known && !i.Stub:
			j.add(Error, "initrd", rebuild, "%s does not have early boot: it boots the root as it was", i.File)
		case i.Time.Before(j.ConfigTime):
			j.add(Warning, "initrd-older", rebuild, "%s is older than the configuration, which early boot reads in it", i.File)
		}
	}
}

func (j *judge) units() {
	if len(j.Units) == 0 && !j.NixOS {
		j.add(Error, "not-installed", "install the package, or make install", "the units of impermanence are not installed in the root")
	}
	for _, unit := range slices.Sorted(maps.Keys(j.Units)) {
		if !j.Units[unit] && j.Root != nil {
			j.add(Error, "unit", "sudo impermanence template run --also-now -- systemctl enable "+unit, "%s is not enabled", unit)
		}
	}
}

// volumes holds each persistent volume against fstab and the mounts.
func (j *judge) volumes() {
	if j.ConfigErr != nil {
		return
	}
	for _, v := range j.Config.Volumes {
		line, inFstab := j.mountsFor(v.Path)
		on := machine.On(j.Mounts, v.Path)
		switch {
		case !inFstab && j.isFresh(on.Point):
			j.add(Error, "volume-missing", fmt.Sprintf("add to /etc/fstab: UUID=%s %s btrfs subvol=%s,x-initrd.mount 0 0", j.UUID, v.Path, strings.TrimPrefix(v.Path, "/")),
				"the persistent volume %s is neither mounted nor in fstab", v.Path)
			continue
		case inFstab && !machine.Within(on.Point, path.Clean(line.Point)):
			j.add(Error, "volume-not-mounted", "sudo mount "+line.Point, "the persistent volume %s is not mounted", v.Path)
		}
		if _, early := line.Option("x-initrd.mount"); inFstab && !early {
			j.add(Warning, "volume-late", "edit /etc/fstab: add x-initrd.mount to the options of "+line.Point,
				"the persistent volume %s is not mounted in the initrd: its entries are in place only before local-fs.target, too late for /etc/machine-id", v.Path)
		}
		subvolume, _ := line.Option("subvol")
		if j.Root != nil && strings.HasPrefix(path.Clean("/"+subvolume), "/"+j.Root.Subvolume+"/") {
			j.add(Error, "volume-in-root", fmt.Sprintf("move the subvolume %s beside the root (mv on the mounted top level) and mount it from there", subvolume),
				"the persistent volume %s lies inside the root, and would become a part of an old root: no rollover is made", v.Path)
		}
	}
}

// mountsFor gives the line of fstab that mounts what a volume is on: a volume may be a directory of what is mounted, unless
// each boot empties that.
func (j *judge) mountsFor(volume string) (fstab.Line, bool) {
	for p := path.Clean(volume); !j.isFresh(p); p = path.Dir(p) {
		if line, found := j.Fstab.At(p); found {
			return line, true
		}
	}
	return fstab.Line{}, false
}

// isFresh tells whether a mount point is the root's, or of another that is ephemeral.
func (j *judge) isFresh(point string) bool {
	return point == "/" || slices.Contains(j.Config.MountPoints(), point)
}

// template holds it against the root and the kernels.
func (j *judge) template() {
	switch {
	case j.HalfSetUp:
		j.add(Error, "set-up-unfinished", "sudo impermanence setup", "the set-up was interrupted: there is no template yet, and no root is rolled over")
	case errors.Is(j.TemplateErr, btrfsops.ErrNoTemplate):
		j.add(Error, "no-template", "make one: btrfs subvolume snapshot -r / TOP/"+j.Root.Template, "%v: no root is rolled over", j.TemplateErr)
	case j.TemplateErr != nil:
		j.add(Error, "template", "sudo impermanence template show", "the template: %v", j.TemplateErr)
	}
	if j.Staged && !j.HalfSetUp { // else the set-up was making the first one, and puts that right
		j.add(Warning, "template-staged", "sudo impermanence template run -- true", "a change of the template is under way, or was interrupted: the next one puts that right")
	}
	if j.Template == nil {
		return
	}
	if len(j.Template.Modules) > 0 {
		for _, k := range j.Template.Without {
			j.add(Error, "kernel", j.Template.Remedy(k), "%s is kernel %s, for which the template has no modules (it has %s)", k.File, k.Version, strings.Join(j.Template.Modules, ", "))
		}
	}
	for _, file := range j.Template.Changed {
		j.add(Warning, "configuration-lost", "sudo impermanence template commit", "%s", template.TellChanged(file))
	}
	if len(j.Template.Lost) > 0 {
		j.add(Warning, "packages-lost", "sudo impermanence template commit", "%s", j.Template.TellLost())
	}
}

// packages must be in the template, with their database.
func (j *judge) packages() {
	if j.Root == nil || j.Packages.Database == "" {
		return
	}
	if on := machine.On(j.Mounts, j.Packages.Database); on.Point != "/" {
		j.add(Error, "package-database", "keep "+j.Packages.Database+" on the root", "the package database %s lies on %s, and the programs in the template: they would not go back together", j.Packages.Database, on.Point)
	}
}

func (j *judge) filesystem() {
	if j.Root == nil || j.Filesystem != nil {
		return
	}
	if !j.OldRoots {
		j.add(Error, "old-roots", "sudo btrfs subvolume list /", "%q, where the old roots are to be kept, is no directory", j.Root.OldRoots)
	}
	if j.Quotas {
		j.add(Warning, "quotas", "sudo btrfs quota disable /", "quotas are enabled: to delete 3,000 old roots takes 25 s of the file system's time instead of 0.3 s")
	}
	for _, e := range j.Config.Entries() {
		for _, nested := range j.Nested {
			if strings.HasPrefix("/"+nested, e.Target+"/") && machine.On(j.Mounts, e.Target).Point == "/" {
				j.add(Warning, "nested", "move it out, and mount it from fstab", "the subvolume /%s lies in the entry %s, and is not copied with it", nested, e.Target)
			}
		}
	}
}

// swap looks for files on the root, and for what a resume needs.
func (j *judge) swap() {
	if j.Root == nil {
		return
	}
	outside := false // there is a swap file that does not lie in the root
	for _, line := range j.Fstab {
		if !line.SwapFile() {
			continue
		}
		if machine.On(j.Mounts, line.Spec).Point != "/" {
			outside = true
			continue
		}
		j.add(Error, "swap-file", "move "+line.Spec+" to a subvolume of its own, and mount that from fstab", "the swap file %s lies in the root: no snapshot can be made while it is in use, and a machine hibernated to it can't resume", line.Spec)
	}
	resume := machine.ParseCmdline(j.Running).Resume
	if strings.HasPrefix(resume, "UUID="+j.UUID) && j.UUID != "" && !outside {
		j.add(Warning, "hibernation", "hibernate to a partition of its own", "resume= names the file system of the root: the swap file there must lie outside the root")
	}
}
