package template

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/machine"
)

// Errors of the package, beside those of btrfsops.
var (
	ErrNotConfigured = errors.New("no template is configured for the root")
	ErrDiverged      = errors.New("package database, kernel and template would not belong together")
	ErrCommitted     = errors.New("the template is changed")
	ErrOtherRoot     = errors.New("another root is configured")
)

// CommandError is a command that failed in the template, or in the running root after it.
type CommandError struct {
	Command []string
	Err     error
}

func (e *CommandError) Error() string { return strings.Join(e.Command, " ") + ": " + e.Err.Error() }

// Unwrap gives what the command ended with.
func (e *CommandError) Unwrap() error { return e.Err }

// Template is the template of a machine's root.
type Template struct {
	root   string // where the machine's root is mounted
	mounts []machine.Mount
	config *config.Config
	layout btrfsops.Layout
	fs     *btrfsops.Filesystem
	note   func(text string)
}

// Open finds the template of the machine whose root is mounted at root; note is told what a person has to know. Errors:
// ErrNotConfigured, config.Errors, machine.ErrNotMounted, fs.ErrNotExist.
func Open(root string, note func(text string)) (*Template, error) {
	mounts, err := machine.Mounts(root)
	if err != nil {
		return nil, err
	}
	c, err := config.Load(config.LoadOptions{Root: root})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.Ephemeral, func(e config.Ephemeral) bool { return e.MountPoint == "/" })
	if i < 0 || c.Ephemeral[i].Template == "" {
		return nil, ErrNotConfigured
	}
	e := c.Ephemeral[i]
	fs, err := btrfsops.OpenDevice(mounts[0].Source)
	if err != nil {
		return nil, err
	}
	if err := config.AddRecorded(root, c); err != nil {
		note(err.Error())
	}
	return &Template{
		root: root, mounts: mounts, config: c, fs: fs, note: note,
		layout: btrfsops.Layout{Root: e.Subvolume, OldRoots: e.OldRoots, Template: e.Template},
	}, nil
}

// Close lets go of it.
func (t *Template) Close() error { return t.fs.Close() }

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// lastWord is how long a command in the template may take to end after an interrupt. It is the first of its process ids, which the
// kernel ends at Ctrl-C only if it asks for that.
const lastWord = 5 * time.Second

// Run changes the template by running a command in a copy of it, with what the machine has mounted below its root: what the
// command writes to entries, to /boot when that is a file system of its own, or to /home is written there at once. When it
// succeeds the copy becomes the template; else the copy is dropped, and the error is a CommandError.
func (t *Template) Run(ctx context.Context, argv []string, s Streams) error {
	if err := t.checkDatabase(); err != nil {
		return err
	}
	err := t.run(ctx, argv, s)
	if err != nil && !errors.Is(err, ErrCommitted) && slices.ContainsFunc(machine.BootPlaces, t.isApart) {
		t.tellKernels(context.WithoutCancel(ctx))
	}
	return err
}

// tellKernels notes which kernels the boot loader has that the template lacks the modules of, after a change that was dropped: what lies on
// another file system than the root stays as the command left it.
func (t *Template) tellKernels(ctx context.Context) {
	state, err := t.Show(ctx)
	if err != nil || len(state.Modules) == 0 {
		return
	}
	for _, k := range state.Without {
		t.note(tellKernel(k) + ": the change was dropped, but it stays; have it succeed before the next boot")
	}
}

func (t *Template) run(ctx context.Context, argv []string, s Streams) error {
	return t.change(ctx, btrfsops.FromTemplate, func(dir, path string) error {
		unquiet, err := quiet(dir)
		if err != nil {
			return err
		}
		tree, err := machine.OpenTree(ctx, dir, machine.Binds(t.root, t.mounts), s.Err)
		if err != nil {
			return err
		}
		cmd := tree.Command(ctx, argv...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = lastWord
		began := time.Now()
		if err = cmd.Run(); err != nil {
			err = &CommandError{argv, err}
		} else {
			t.update(ctx, dir, tree, s)
			err = t.checkKernels(ctx, dir)
		}
		// After a failure too: what is on other file systems stays.
		err = errors.Join(err, t.bootLoader(dir, path, began))
		return errors.Join(err, tree.Close(), unquiet())
	})
}

// update has what was made of /usr made again when the command has changed that: else each fresh root would, as it boots.
func (t *Template) update(ctx context.Context, dir string, tree *machine.Tree, s Streams) {
	for _, argv := range machine.Updates(dir) {
		cmd := tree.Command(ctx, argv...)
		cmd.Stdout, cmd.Stderr = s.Err, s.Err
		if err := cmd.Run(); err != nil {
			t.note((&CommandError{argv, err}).Error() + "; each boot does that")
		}
	}
}

// policy is where Debian's invoke-rc.d asks whether it may start a service; exit status 101 forbids it. Other distributions ask
// systemd, which is not there.
const (
	policy     = "usr/sbin/policy-rc.d"
	invoker    = "usr/sbin/invoke-rc.d"
	policyText = "#!/bin/sh\nexit 101\n"
)

// quiet keeps packages from starting services in the tree, as long as that is worked on.
func quiet(dir string) (unquiet func() error, err error) {
	file := filepath.Join(dir, policy)
	_, errInvoker := os.Lstat(filepath.Join(dir, invoker))
	if _, err := os.Lstat(file); err == nil || errInvoker != nil {
		return func() error { return nil }, nil //nolint:nilerr // a policy of its own, or not Debian's way
	}
	if err := os.WriteFile(file, []byte(policyText), 0o755); err != nil {
		return nil, fmt.Errorf("keep services from starting: %w", err)
	}
	return func() error { return os.Remove(file) }, nil
}

// Commit makes the present root the template, without what is kept elsewhere or of one boot. It has to be the one that is configured: an old
// root that somebody has booted or mounted is not.
func (t *Template) Commit(ctx context.Context) error {
	if err := t.mayCommit(); err != nil {
		return err
	}
	return t.change(ctx, btrfsops.FromRoot, func(dir, _ string) error { return t.checkKernels(ctx, dir) })
}

// mayCommit refuses to take one root for another, and a database that is kept elsewhere.
func (t *Template) mayCommit() error {
	if here := t.mounts[0].Subvolume; here != t.layout.Root {
		return fmt.Errorf("%w: the root here is subvolume %q, and %q would become the template", ErrOtherRoot, here, t.layout.Root)
	}
	return t.checkDatabase()
}

// RollBack exchanges the template with the former one.
func (t *Template) RollBack(ctx context.Context) error {
	found, err := t.fs.RollBackTemplate(ctx, t.layout)
	if err != nil {
		return err
	}
	if err := t.mirrorBoot(ctx, found); err != nil {
		return fmt.Errorf("%w, but: %w", ErrCommitted, err)
	}
	return nil
}

// change stages a new template, has it worked on where it is mounted, and commits it; on an error it is dropped. The work is told
// where it is mounted, and where it stands below the top level.
func (t *Template) change(ctx context.Context, from btrfsops.TemplateSource, work func(dir, path string) error) error {
	staged, err := t.fs.StageTemplate(ctx, t.layout, from)
	if err != nil {
		return err
	}
	defer staged.Close()
	err = t.mounted(ctx, staged.ID(), func(dir string) error {
		if err := work(dir, staged.Path()); err != nil {
			return err
		}
		return Clean(dir, Kept(t.root, t.config.Entries()))
	})
	if err != nil {
		return errors.Join(err, staged.Drop())
	}
	return t.commit(ctx, staged)
}

// commit makes the staged template the template. What fails after that is ErrCommitted, and /boot belongs to the new one then, too.
func (t *Template) commit(ctx context.Context, staged *btrfsops.NewTemplate) error {
	err := staged.Commit(ctx)
	found, errFound := t.fs.Templates(t.layout)
	if err != nil && (found.Current == nil || found.Current.ID != staged.ID()) {
		return err
	}
	if err = errors.Join(err, errFound); errFound == nil {
		err = errors.Join(err, t.mirrorBoot(ctx, found))
	}
	if err != nil {
		return fmt.Errorf("%w, but: %w", ErrCommitted, err)
	}
	return nil
}

// mounted mounts a subvolume by its id for as long as f runs.
func (t *Template) mounted(ctx context.Context, id btrfsops.SubvolumeID, f func(dir string) error) error {
	return machine.Mounted(ctx, t.mounts[0].Source, fmt.Sprint("subvolid=", id), f)
}

// checkDatabase refuses to change a template whose package database is kept elsewhere: the two would not go back, or forward,
// together.
func (t *Template) checkDatabase() error {
	packages, err := machine.ReadPackages(t.root)
	if err != nil || packages.Database == "" {
		return err
	}
	if on := machine.On(t.mounts, packages.Database); on.Point != "/" {
		return fmt.Errorf("%w: the package database %s lies on %s, which is no part of the template: keep it on the root", ErrDiverged, packages.Database, on.Point)
	}
	return nil
}

// checkKernels refuses a tree in which no kernel of the boot loader has its modules, and notes those that have none. The kernels
// are those of the tree, or of the machine where /boot is a file system of its own.
func (t *Template) checkKernels(ctx context.Context, dir string) error {
	kernels, without, err := t.kernelsOf(ctx, dir)
	switch {
	case err != nil || len(without) == 0:
		return err
	case len(without) == len(kernels):
		return fmt.Errorf("%w: %s is kernel %s, and the template has modules for %s",
			ErrDiverged, without[0].File, without[0].Version, strings.Join(machine.Kernels(dir), ", "))
	}
	for _, k := range without {
		t.note(tellKernel(k) + ": don't boot it")
	}
	return nil
}

// kernelsOf lists the kernels that the template at dir is to be booted with, and those of them that it has no modules for: none, where a kernel has
// all built in.
func (t *Template) kernelsOf(ctx context.Context, dir string) (kernels, without []machine.Kernel, err error) {
	kernels, err = t.kernels(ctx, t.bootOf(dir))
	if err != nil || machine.FirstFile(dir, "/usr/lib/modules", "/lib/modules") == "" {
		return kernels, nil, err
	}
	return kernels, machine.Without(kernels, machine.Kernels(dir)), nil
}

// kernels lists the kernels in a tree's /boot, but for those that only entries of other systems load.
func (t *Template) kernels(ctx context.Context, tree string) ([]machine.Kernel, error) {
	names, err := machine.Names(ctx, t.mounts[0].Source)
	if err != nil {
		return nil, err
	}
	files, err := machine.BootFiles(tree)
	if err != nil {
		return nil, err
	}
	others := machine.LoadedByOthers(files, t.layout.Root, t.fs.UUID(), names)
	return slices.DeleteFunc(machine.BootKernels(tree), func(k machine.Kernel) bool { return others[k.File] }), nil
}

// bootOf gives the tree whose /boot belongs to the template at dir.
func (t *Template) bootOf(dir string) string {
	if t.bootApart() {
		return t.root
	}
	return dir
}

// bootApart tells whether /boot is a file system, or a subvolume, of its own.
func (t *Template) bootApart() bool { return t.isApart("/boot") }

// isApart tells whether a place of the machine lies elsewhere than in its root.
func (t *Template) isApart(place string) bool { return machine.On(t.mounts, place).Point != "/" }

// RunHere runs a command in the running root, as Run did in the template.
func (t *Template) RunHere(ctx context.Context, argv []string, s Streams) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if t.root != "/" {
		cmd = exec.CommandContext(ctx, "chroot", append([]string{t.root}, argv...)...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return &CommandError{argv, err}
	}
	return nil
}

// inRoot runs f where the root is mounted that the next boot archives: it is another than the one here when somebody has booted, or mounted, an
// old root.
func (t *Template) inRoot(ctx context.Context, f func(dir string) error) error {
	if t.mounts[0].Subvolume == t.layout.Root {
		return f(t.root)
	}
	return machine.Mounted(ctx, t.mounts[0].Source, "subvol=/"+t.layout.Root, f)
}

// mirrorBoot gives the root the kernels of the template, where /boot is a part of both: the boot loader reads it from the
// root before a fresh one takes its place.
func (t *Template) mirrorBoot(ctx context.Context, found btrfsops.Templates) error {
	if t.bootApart() {
		return nil
	}
	former := map[string]bool{}
	if found.Former != nil {
		err := t.mounted(ctx, found.Former.ID, func(dir string) (err error) {
			former, err = files(filepath.Join(dir, "boot"))
			return err
		})
		if err != nil {
			return err
		}
	}
	err := t.mounted(ctx, found.Current.ID, func(dir string) error {
		err := t.inRoot(ctx, func(root string) error {
			return mirror(filepath.Join(dir, "boot"), filepath.Join(root, "boot"), former, t.apart)
		})
		if err != nil {
			return err
		}
		return t.fs.Sync() // the template is on the disk already
	})
	if err != nil {
		return fmt.Errorf("/boot of the root is not as in it yet: %w", err)
	}
	return nil
}
