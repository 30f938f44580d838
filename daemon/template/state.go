package template

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/impermanence/impermanence/btrfsops"
	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/daemon/machine"
)

// Version is one state of the template: a subvolume.
type Version struct {
	ID      uint64
	Created time.Time
}

// State is what a template is, and how it stands to the machine.
type State struct {
	Path     string // relative to the top level
	Root     string // the root's subvolume
	Current  Version
	Former   *Version         // nil when none is kept
	Manager  string           // the package manager; "" for none that is known
	Packages int              // installed in the template
	Lost     []string         // "name version" that the running root has, and the template not: gone after the next boot
	New      []string         // that the template has, and the running root not: there after the next boot
	Modules  []string         // kernel versions that the template has modules for
	Changed  []string         // files of the configuration that no template has as the running root does: gone after the next boot
	Without  []machine.Kernel // that the boot loader has, and the template has no modules for

	running []string // kernel versions that the running root has modules for
}

// Remedy is what puts a kernel right that the template has no modules for: a command, or in words what to do.
func (s State) Remedy(k machine.Kernel) string {
	if slices.Contains(s.running, k.Version) {
		return "sudo impermanence template commit"
	}
	return "install what " + k.File + " belongs to by sudo impermanence template run, or remove it"
}

// Problem is something that does not belong together, and the command that puts it right.
type Problem struct{ What, Try string }

// Show looks at the template. It changes nothing. Errors: btrfsops.ErrNoTemplate.
func (t *Template) Show(ctx context.Context) (State, error) {
	s := State{Path: t.layout.Template, Root: t.layout.Root}
	found, err := t.fs.Templates(t.layout)
	if err != nil {
		return s, err
	}
	if found.Current == nil {
		return s, fmt.Errorf("%w at %q", btrfsops.ErrNoTemplate, t.layout.Template)
	}
	s.Current = Version{uint64(found.Current.ID), found.Current.Created}
	if f := found.Former; f != nil {
		s.Former = &Version{uint64(f.ID), f.Created}
	}
	err = t.mounted(ctx, found.Current.ID, func(dir string) error {
		here, err := machine.ReadPackages(t.root)
		if err != nil {
			return err
		}
		there, err := machine.ReadPackages(dir)
		if err != nil {
			return err
		}
		s.Manager, s.Packages = there.Manager, len(there.Versions)
		s.New = there.Missing(here)
		s.Modules = machine.Kernels(dir)
		kernels, err := t.kernels(ctx, t.root)
		if err != nil {
			return err
		}
		s.Without = machine.Without(kernels, s.Modules)
		s.running = machine.Kernels(t.root)
		installed, err := t.installed(ctx, found, here, there)
		s.Lost = installed.Missing(there)
		return err
	})
	if err == nil {
		s.Changed, err = t.changedConfiguration(ctx, found)
	}
	return s, err
}

// changedConfiguration lists the files of the configuration that neither the template nor the former one, which the running root may be a copy of,
// has as the running root does.
func (t *Template) changedConfiguration(ctx context.Context, found btrfsops.Templates) ([]string, error) {
	files, err := config.LoadOptions{Root: t.root}.Files()
	if err != nil {
		return nil, err
	}
	changed := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if name := filepath.Join("/", strings.TrimPrefix(file, t.root)); machine.Within(name, "/etc") && !t.isApart(name) { // else a package's, or kept
			changed[name] = string(text)
		}
	}
	for _, s := range []*btrfsops.Subvolume{found.Current, found.Former} {
		if s == nil || len(changed) == 0 {
			continue
		}
		err := t.mounted(ctx, s.ID, func(dir string) error {
			maps.DeleteFunc(changed, func(name, text string) bool {
				there, err := os.ReadFile(filepath.Join(dir, name))
				return err == nil && string(there) == text
			})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(changed)), nil
}

// installed are the packages of the running root, here, but for what it may have from a former template: after a change of the template the root
// is behind, and loses nothing.
func (t *Template) installed(ctx context.Context, found btrfsops.Templates, here, there machine.Packages) (machine.Packages, error) {
	root, err := t.fs.SubvolumeAt(t.layout.Root)
	if err != nil {
		return here, err
	}
	related := func(s *btrfsops.Subvolume) bool { return root.ParentUUID == s.UUID || s.ParentUUID == root.UUID }
	switch {
	case related(found.Current):
		return here, nil
	case found.Former != nil && related(found.Former):
		err := t.mounted(ctx, found.Former.ID, func(dir string) error {
			former, err := machine.ReadPackages(dir)
			here = here.Without(func(name, version string) bool { return former.Versions[name] == version })
			return err
		})
		return here, err
	}
	// It was changed more than once, or the root was made from an old root: the same package in another version tells nothing.
	return here.Without(func(name, _ string) bool { return there.Versions[name] != "" }), nil
}

// PlanCommit says what Commit would do, a line each, and notes what that would. Errors: those of Commit.
func (t *Template) PlanCommit(ctx context.Context) ([]string, error) {
	s, err := t.Show(ctx)
	if err == nil {
		err = t.mayCommit()
	}
	if err == nil {
		err = t.checkKernels(ctx, t.root)
	}
	if err != nil {
		return nil, err
	}
	plan := []string{
		fmt.Sprintf("make the root %s the template, without what persists", s.Root),
		fmt.Sprintf("keep the template, subvolume %d, as the former one", s.Current.ID),
	}
	if s.Former != nil {
		plan = append(plan, fmt.Sprintf("delete the former one, subvolume %d", s.Former.ID))
	}
	return plan, nil
}

// PlanRollBack says what RollBack would do, a line each, and notes the kernels that would have no modules then. Errors:
// btrfsops.ErrNoTemplate.
func (t *Template) PlanRollBack(ctx context.Context) ([]string, error) {
	s, err := t.Show(ctx)
	if err != nil {
		return nil, err
	}
	if s.Former == nil {
		return nil, fmt.Errorf("roll back: %w: no former one is kept", btrfsops.ErrNoTemplate)
	}
	err = t.mounted(ctx, btrfsops.SubvolumeID(s.Former.ID), func(dir string) error {
		_, without, err := t.kernelsOf(ctx, dir)
		for _, k := range without {
			t.note(fmt.Sprintf("%s is kernel %s, for which the former one has no modules", k.File, k.Version))
		}
		return err
	})
	return []string{
		fmt.Sprintf("make the former one, subvolume %d, the template", s.Former.ID),
		fmt.Sprintf("keep the template, subvolume %d, as the former one", s.Current.ID),
	}, err
}

// Problems says what does not belong together, each with the command that puts it right.
func (s State) Problems() []Problem {
	var problems []Problem
	add := func(what, try string) { problems = append(problems, Problem{what, try}) }
	if len(s.Modules) > 0 && len(s.Without) > 0 {
		k := s.Without[0]
		add(tellKernel(k), s.Remedy(k))
	}
	for _, file := range s.Changed {
		add(TellChanged(file), "sudo impermanence template commit")
	}
	if len(s.Lost) > 0 {
		add(s.TellLost(), "sudo impermanence template commit")
	}
	return problems
}

// tellKernel says what is wrong with a kernel that the template has no modules for.
func tellKernel(k machine.Kernel) string {
	return fmt.Sprintf("%s is kernel %s, for which the template has no modules", k.File, k.Version)
}

// TellChanged says what becomes of a file of the configuration.
func TellChanged(file string) string {
	return file + " of the running root is gone after the next boot: the template has it otherwise, or not, whatever the initrd has"
}

// TellLost says which packages are lost.
func (s State) TellLost() string {
	return "the running root has packages that are gone after the next boot: " + some(s.Lost)
}

// some names the first of many.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + ", …"
}
