package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/daemon/setup"
)

// setupFlags are the options of setup.
type setupFlags struct {
	setup.Options
	root         string
	device       setup.DeviceOptions
	dryRun, undo bool
}

// setupCommand turns an installed machine into an impermanent one, and back.
func (a *app) setupCommand() *cobra.Command {
	var o setupFlags
	cmd := &cobra.Command{
		Use:        "setup",
		SuggestFor: []string{"install", "init"},
		Short:      "Make an installed machine impermanent, or undo that",
		Long: `Make the root of an installed machine on btrfs fresh at every boot: write the
configuration, with presets for what is installed, make the persistent volume
and copy there what is to persist, add it to fstab, enable the services, build
the initrd, and make the template from the root as it is. The machine is
impermanent from its next boot on. What was interrupted goes on where it
stopped when it is run again.

With --device an empty disk or partition is laid out, for a system that is still
to be installed: a file system with the subvolumes root and persist, inside LUKS
if so asked. On a disk without a partition table an EFI system partition is made
as well; one that is there is left alone. Nothing is ever wiped.`,
		Example: `  sudo impermanence setup --dry-run  what would be done
  sudo impermanence setup
  sudo impermanence setup --undo     the running root stays, with what is kept
  sudo impermanence setup --device /dev/sda --luks --also home`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.fit(); err != nil {
				return err
			}
			return a.apart(cmd.Context(), func() error {
				if o.device.Device != "" {
					return a.setupDevice(cmd.Context(), o)
				}
				return a.setup(cmd.Context(), o)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would be done; change nothing")
	flags.BoolVar(&o.undo, "undo", false, "make the running root permanent again, with what is kept on the volume")
	flags.StringVar(&o.root, "root", "/", "set up the machine whose root is mounted at `DIR`")
	flags.StringVar(&o.VolumePoint, "volume", "/persist", "mount the persistent volume at `DIR`")
	flags.StringVar(&o.VolumeName, "subvolume", "persist", "name the subvolume of the persistent volume `NAME`")
	flags.StringVar(&o.TemplateName, "template", "root-template", "name the subvolume of the template `NAME`")
	flags.StringSliceVar(&o.Presets, "preset", nil, "keep the preset `NAME` too")
	flags.BoolVar(&o.NoInitrd, "no-initrd", false, "leave the building of the initrd to somebody else")
	flags.StringVar(&o.device.Device, "device", "", "lay out the empty disk or partition `DEV`")
	flags.BoolVar(&o.device.LUKS, "luks", false, "device: encrypt it; the passphrase is asked for")
	flags.StringVar(&o.device.KeyFile, "key-file", "", "device: take the passphrase from `FILE`")
	flags.StringSliceVar(&o.device.Also, "also", nil, "device: make the subvolume `NAME` too, such as home or nix")
	return cmd
}

// fit refuses options that do not go together.
func (o *setupFlags) fit() error {
	wrong := ""
	switch d := o.device; {
	case d.Device != "" && (o.undo || o.root != "/"):
		wrong = "setup: --device is for an empty disk: neither --undo nor --root goes with it"
	case d.Device == "" && (d.LUKS || d.KeyFile != "" || len(d.Also) > 0):
		wrong = "setup: --luks, --key-file and --also are for an empty disk: they go with --device"
	case d.KeyFile != "" && !d.LUKS:
		wrong = "setup: --key-file is for a disk that is encrypted: it goes with --luks"
	default:
		return nil
	}
	return &usageError{errors.New(wrong), "impermanence setup --help"}
}

// setup plans and does it, or undoes it.
func (a *app) setup(ctx context.Context, o setupFlags) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	facts, err := setup.Gather(root, o.Options)
	if err != nil {
		return err
	}
	plan, apply := setup.MakePlan, setup.Machine.Apply
	if o.undo {
		plan, apply = setup.PlanUndo, setup.Machine.Undo
	}
	p, err := plan(facts, o.Options)
	if err != nil {
		return err
	}
	for _, note := range p.Notes {
		a.stderr.line("note: %s", a.stderr.text(note))
	}
	if o.dryRun {
		a.stdout.setupPlan(p)
		if o.undo {
			return nil
		}
		return p.Check(root)
	}
	m := setup.Machine{
		Root: root, Out: a.stderr.beneath(),
		Step: func(s setup.Step) { a.stdout.line("%s", a.stdout.text(s.String())) },
		Note: func(text string) { a.stderr.line("note: %s", a.stderr.text(text)) },
	}
	if err := apply(m, ctx, facts, p); err != nil {
		return err
	}
	if !o.undo {
		a.stderr.line("note: it takes effect at the next boot; what is written to the root until then is in its old root after it")
	}
	return nil
}

// setupDevice lays out an empty disk or partition.
func (a *app) setupDevice(ctx context.Context, o setupFlags) error {
	facts, err := setup.GatherDevice(ctx, o.device.Device)
	if err != nil {
		return err
	}
	p, err := setup.PlanDevice(facts, o.device)
	if err != nil {
		return err
	}
	say := func(what string) { a.stdout.line("%s", a.stdout.text(what)) }
	if o.dryRun {
		for _, command := range p.Commands {
			say(command.String())
		}
		for _, name := range p.Subvolumes {
			say("make subvolume " + name)
		}
		return nil
	}
	if err := setup.ApplyDevice(ctx, p, os.Stdin, a.stderr.beneath(), say); err != nil {
		return err
	}
	for _, note := range p.Notes {
		a.stderr.line("note: %s", a.stderr.text(note))
	}
	return nil
}

// setupPlan prints a plan: a line for each step, below it what changes in a file.
func (o output) setupPlan(p setup.Plan) {
	for _, step := range p.Steps {
		o.line("%s", o.text(step.String()))
		for _, change := range p.Record.Files {
			if step.Op == setup.WriteFile && change.Path == step.Path {
				o.changes(change)
			}
		}
	}
}

// changes prints the lines that a file loses and gains.
func (o output) changes(c setup.FileChange) {
	removed, added := c.Lines()
	for _, line := range removed {
		o.line("  %s", o.paint(red, "- "+o.text(strings.TrimSuffix(line, "\n"))))
	}
	for _, line := range added {
		o.line("  %s", o.paint(green, "+ "+o.text(strings.TrimSuffix(line, "\n"))))
	}
}
