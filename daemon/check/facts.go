package check

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
	"sync"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/fstab"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/template"
)

// Facts are what was found out about a machine.
type Facts struct {
	Runs      bool // it is the running one
	Config    *config.Config
	ConfigErr error
	Mounts    []machine.Mount
	Fstab     fstab.Table
	Root      *config.Ephemeral // of "/"; nil when none is configured

	Filesystem  error // why its subvolumes could not be looked at
	UUID        string
	RootID      btrfsops.SubvolumeID // of what is configured as the root; 0: there is none
	DefaultID   btrfsops.SubvolumeID
	OldRoots    bool // where they are kept there is a directory, or nothing
	Quotas      bool
	Nested      []string // subvolumes inside the root, by their path there
	Template    *template.State
	TemplateErr error           // why there is none, or why it can't be looked at
	Staged      bool            // a change of the template was interrupted
	HalfSetUp   bool            // a set-up was begun and not finished
	Others      map[string]bool // ids on command lines of subvolumes that are neither roots nor templates of this machine

	Names      []string // what root= may call the root's file system, besides its UUID
	Boot       []machine.BootFile
	Running    string // kernel command line
	Initrds    []Initrd
	InitrdTool *machine.InitrdTool
	ConfigTime time.Time       // when the configuration was last changed
	Units      map[string]bool // those that a preset enables -> enabled
	NixOS      bool            // where units are NixOS's
	Packages   machine.Packages
	Rollover   []btrfsops.BootRecord // what early boot did; nil: it left no record
}

// Initrd is an image that the boot loader loads.
type Initrd struct {
	File  string
	Time  time.Time
	Known bool // its content could be listed
	Stub  bool // it has early boot's program

	Cmdline string // the kernel command line that dracut built into it; "": none
}

// Stub is early boot's program.
const Stub = "/usr/lib/impermanence/impermanence-initrd"

// Gather looks at the machine whose root is mounted at root, "/" for the running one. What can't be looked at is a fact too.
func Gather(ctx context.Context, root string) (Facts, error) {
	f := Facts{Runs: root == "/"}
	var err error
	if f.Mounts, err = machine.Mounts(root); err != nil {
		return f, err
	}
	f.Config, f.ConfigErr = config.Load(config.LoadOptions{Root: root})
	if f.ConfigErr == nil {
		f.ConfigErr = config.AddRecorded(root, f.Config)
		if i := slices.IndexFunc(f.Config.Ephemeral, func(e config.Ephemeral) bool { return e.MountPoint == "/" }); i >= 0 {
			f.Root = &f.Config.Ephemeral[i]
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "/etc/fstab"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f.Fstab = fstab.Parse(string(text))
	if f.Boot, err = machine.BootFiles(root); err != nil {
		return f, err
	}
	f.boot(ctx, root)
	f.Units = units(ctx, root)
	f.NixOS = machine.FirstFile(root, "/etc/NIXOS") != ""
	f.ConfigTime = newest(root)
	if f.Packages, err = machine.ReadPackages(root); err != nil {
		return f, err
	}
	if f.Root != nil {
		f.Filesystem = f.subvolumes()
		f.template(ctx, root)
	}
	return f, nil
}

// boot looks at this boot, and at what the next will load.
func (f *Facts) boot(ctx context.Context, root string) {
	f.Names, _ = machine.Names(ctx, f.Mounts[0].Source)
	if f.Runs {
		line, _ := os.ReadFile("/proc/cmdline")
		f.Running = strings.TrimSpace(string(line))
		f.Rollover, _ = btrfsops.ReadBootRecords("/run/impermanence/" + btrfsops.BootRecordName)
	}
	if tool, found := machine.FindInitrdTool(root); found {
		f.InitrdTool = &tool
	}
	f.initrds(ctx, root)
}

// initrds looks into those of the machine.
func (f *Facts) initrds(ctx context.Context, root string) {
	for _, file := range machine.BootGlob(root, []string{"initrd.img*", "initramfs*.img", "initrd-*"}, []string{"*/*/initrd", "*/*/initrd.img-*"}) {
		info, err := os.Lstat(filepath.Join(root, file))
		if err != nil || !info.Mode().IsRegular() || notForBoots().MatchString(file) {
			continue
		}
		initrd := Initrd{File: file, Time: info.ModTime()}
		initrd.list(ctx, root)
		f.Initrds = append(f.Initrds, initrd)
	}
}

// notForBoots matches initrds that no ordinary boot loads.
var notForBoots = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`fallback|rescue|kdump`) })

// listers list the content of an initrd, by the program that lists it.
var listers = []struct {
	program string
	args    []string
}{
	{"/usr/bin/lsinitramfs", nil}, {"/usr/bin/lsinitrd", nil}, {"/usr/bin/lsinitcpio", []string{"-l"}},
}

// list finds out whether early boot's program is in it, by the machine's own tool.
func (i *Initrd) list(ctx context.Context, root string) {
	for _, l := range listers {
		if machine.FirstFile(root, l.program) == "" {
			continue
		}
		var out strings.Builder
		if err := machine.RunIn(ctx, root, &out, slices.Concat([]string{l.program}, l.args, []string{i.File})...); err == nil {
			i.Known, i.Stub = true, strings.Contains(out.String(), Stub[1:])
			i.read(ctx, root, l.program, cmdlineFiles().FindAllString(out.String(), -1))
			return
		}
	}
}

// cmdlineFiles matches, in a list of its files, those that dracut reads as a part of the kernel command line.
var cmdlineFiles = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)\betc/(?:cmdline|cmdline\.d/\S+\.conf)$`)
})

// read finds out what they say.
func (i *Initrd) read(ctx context.Context, root, lsinitrd string, files []string) {
	for _, file := range files {
		var out strings.Builder
		if err := machine.RunIn(ctx, root, &out, lsinitrd, i.File, file); err == nil {
			i.Cmdline = strings.TrimSpace(i.Cmdline + " " + strings.TrimSpace(out.String()))
		}
	}
}

// units looks which of those that the vendor's preset enables are enabled.
func units(ctx context.Context, root string) map[string]bool {
	found := map[string]bool{}
	text, _ := os.ReadFile(filepath.Join(root, "/usr/lib/systemd/system-preset/90-impermanence.preset"))
	for line := range strings.Lines(string(text)) {
		if unit, enable := strings.CutPrefix(strings.TrimSpace(line), "enable "); enable {
			found[unit] = exec.CommandContext(ctx, "systemctl", "--root="+root, "--quiet", "is-enabled", unit).Run() == nil
		}
	}
	return found
}

// newest is when a file of the configuration was last changed.
func newest(root string) time.Time {
	var last time.Time
	for _, glob := range []string{"etc/impermanence/*.toml", "etc/impermanence/*/*.toml", "etc/impermanence/conf.d/*.json"} {
		files, _ := filepath.Glob(filepath.Join(root, glob))
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
	}
	return last
}

// subvolumes looks at the file system.
func (f *Facts) subvolumes() error {
	if f.Mounts[0].Type != "btrfs" {
		return fmt.Errorf("the root is %s, not btrfs", f.Mounts[0].Type)
	}
	top, err := btrfsops.OpenDevice(f.Mounts[0].Source)
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	f.UUID = top.UUID()
	_, err = os.Stat(filepath.Join("/sys/fs/btrfs", f.UUID, "qgroups"))
	f.Quotas = err == nil
	if f.DefaultID, err = top.DefaultSubvolume(); err != nil {
		return err
	}
	if info, err := top.SubvolumeAt(f.Root.Subvolume); err == nil {
		f.RootID = info.ID
	}
	if _, err := top.SubvolumeAt(f.Mounts[0].Subvolume); err == nil {
		if f.Nested, err = top.SubvolumesIn(f.Mounts[0].Subvolume); err != nil {
			return err
		}
	}
	layout := btrfsops.Layout{Root: f.Root.Subvolume, OldRoots: f.Root.OldRoots, Template: f.Root.Template}
	found, err := top.Templates(layout)
	f.Staged = err == nil && found.Staged != nil
	if f.Others, err = f.others(top, found); err != nil {
		return err
	}
	_, err = top.ListRoots(layout)
	f.OldRoots = err == nil
	return nil
}

// others looks for subvolumes whose ids are on command lines, and that are neither a root nor a template of this machine.
func (f *Facts) others(top *btrfsops.Filesystem, templates btrfsops.Templates) (map[string]bool, error) {
	wanted := map[string]bool{}
	for _, file := range f.Boot {
		for _, line := range file.Lines {
			if id := machine.ParseCmdline(line).SubvolID; id != "" {
				wanted[id] = true
			}
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	paths, err := top.SubvolumesIn(".")
	if err != nil {
		return nil, err
	}
	others := map[string]bool{}
	for _, at := range paths {
		if at == f.Root.Subvolume || at == f.Mounts[0].Subvolume || machine.Within(at, f.Root.OldRoots) {
			continue
		}
		info, err := top.SubvolumeAt(at)
		isIt := func(s *btrfsops.Subvolume) bool { return s != nil && s.ID == info.ID }
		own := isIt(templates.Current) || isIt(templates.Former) || isIt(templates.Staged)
		if err == nil && !own && wanted[fmt.Sprint(info.ID)] {
			others[fmt.Sprint(info.ID)] = true
		}
	}
	return others, nil
}

// template looks into the template.
func (f *Facts) template(ctx context.Context, root string) {
	_, err := os.Stat(filepath.Join(root, "/etc/impermanence/setup.json"))
	begun := err == nil
	if f.Root.Template == "" || f.Filesystem != nil {
		return
	}
	t, err := template.Open(root, func(string) {})
	if err != nil {
		f.TemplateErr = err
		return
	}
	defer func() { _ = t.Close() }()
	state, err := t.Show(ctx)
	if err != nil {
		f.TemplateErr = err
		f.HalfSetUp = begun && errors.Is(err, btrfsops.ErrNoTemplate)
		return
	}
	f.Template = &state
}
