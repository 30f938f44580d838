package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/daemon/template"
)

// templateFlags are the options of template.
type templateFlags struct {
	root         string
	dryRun, also bool
}

// templateCommand shows and changes the template.
func (a *app) templateCommand() *cobra.Command {
	var o templateFlags
	cmd := &cobra.Command{
		Use:        "template [show|commit|rollback|run -- COMMAND...]",
		SuggestFor: []string{"upgrade", "chroot"},
		Short:      "Show or change what fresh roots are made from",
		Long: `Show the template, the read-only subvolume that each fresh root is a copy of, or
change it. What is installed in the running root is gone after the next boot;
what is installed in the template stays.

  run       run COMMAND in a writable copy of the template, with the machine's
            /boot, entries and volumes mounted; if it succeeds the copy becomes
            the template, else it is dropped
  commit    make the running root the template, without what persists
  rollback  exchange the template with the one before
  show      what is in it, and whether that fits the kernels and the root (the
            default)`,
		Example: `  sudo impermanence template run -- apt-get install --yes htop
  sudo impermanence template run --also-now -- dnf upgrade
  sudo impermanence template rollback`,
		Args: templateArguments,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return []string{
				cobra.CompletionWithDesc("show", "what is in the template"),
				cobra.CompletionWithDesc("run", "run a command in a copy of it"),
				cobra.CompletionWithDesc("commit", "make the running root the template"),
				cobra.CompletionWithDesc("rollback", "exchange it with the one before"),
			}, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.fit(args); err != nil {
				return err
			}
			return a.apart(cmd.Context(), func() error { return a.template(cmd.Context(), o, args) })
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.also, "also-now", false, "run: then run the command in the running root too")
	flags.BoolVar(&o.dryRun, "dry-run", false, "commit and rollback: print what would be done; change nothing")
	flags.StringVar(&o.root, "root", "/", "use the machine whose root is mounted at `DIR`")
	a.jsonFlag(cmd)
	return cmd
}

// templateArguments accepts a word and, after run, a command.
func templateArguments(cmd *cobra.Command, args []string) error {
	help := cmd.CommandPath() + " --help"
	switch {
	case len(args) == 0:
		return nil
	case args[0] == "run" && len(args) == 1:
		return &usageError{fmt.Errorf("template run: a command is missing"), "impermanence template run -- COMMAND"}
	case args[0] == "run":
		return nil
	case args[0] != "show" && args[0] != "commit" && args[0] != "rollback":
		return &usageError{fmt.Errorf("template: %q is none of show, run, commit, rollback", args[0]), help}
	case len(args) > 1:
		return &usageError{fmt.Errorf("template %s: one argument too many: %q", args[0], args[1]), help}
	}
	return nil
}

// fit refuses an option that what is to be done does not have: who asks for a dry run wants nothing done.
func (o *templateFlags) fit(args []string) error {
	verb := "show"
	if len(args) > 0 {
		verb = args[0]
	}
	option := ""
	switch changes := verb == "commit" || verb == "rollback"; {
	case o.dryRun && !changes:
		option = "--dry-run"
	case o.also && verb != "run":
		option = "--also-now"
	default:
		return nil
	}
	return &usageError{fmt.Errorf("template %s: it has no %s", verb, option), "impermanence template --help"}
}

func (a *app) template(ctx context.Context, o templateFlags, args []string) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	t, err := template.Open(root, func(text string) { a.stderr.line("note: %s", a.stderr.text(text)) })
	if err != nil {
		return err
	}
	defer func() { _ = t.Close() }()
	switch {
	case len(args) == 0 || args[0] == "show":
		return a.templateShow(ctx, t)
	case args[0] == "run":
		return a.templateRun(ctx, t, args[1:], o.also)
	case o.dryRun:
		return explained(a.templateDryRun(ctx, t, args[0]))
	case args[0] == "commit":
		err = t.Commit(ctx)
	default:
		err = t.RollBack(ctx)
	}
	if err != nil {
		return explained(err)
	}
	return a.templateShow(ctx, t)
}

// explained tells of what failed after the template was changed that the rest is done, and what finds out which root it is.
func explained(err error) error {
	switch {
	case errors.Is(err, template.ErrCommitted):
		return fmt.Errorf("%w: %w", errPartly, err)
	case errors.Is(err, template.ErrOtherRoot):
		return &advised{err, "sudo impermanence check"}
	}
	return err
}

// templateRun runs a command in the template, and if asked in the running root.
func (a *app) templateRun(ctx context.Context, t *template.Template, command []string, also bool) error {
	streams := template.Streams{In: os.Stdin, Out: a.stdout.beneath(), Err: a.stderr.beneath()}
	switch err := t.Run(ctx, command, streams); {
	case errors.Is(err, template.ErrCommitted):
		return explained(err)
	case err != nil:
		return fmt.Errorf("template run: the template is as it was: %w", err)
	}
	if !also {
		return nil
	}
	if err := t.RunHere(ctx, command, streams); err != nil {
		return &advised{fmt.Errorf("template run: %w: the template is changed, the running root is not: %w", errPartly, err), commandLine(command)[len("impermanence "):]}
	}
	return nil
}

// templateDryRun prints what commit or rollback would exchange.
func (a *app) templateDryRun(ctx context.Context, t *template.Template, verb string) error {
	planned := t.PlanCommit
	if verb != "commit" {
		planned = t.PlanRollBack
	}
	plan, err := planned(ctx)
	if err != nil {
		return err
	}
	for _, line := range plan {
		a.stdout.line("%s", a.stdout.text(line))
	}
	return nil
}

// templateShow prints the state of the template.
func (a *app) templateShow(ctx context.Context, t *template.Template) error {
	state, err := t.Show(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.stdout.document(newTemplateDocument(state))
	}
	a.stdout.template(state, time.Now())
	return nil
}

// template prints what a template is, by topics.
func (o output) template(s template.State, now time.Time) {
	o.topic(cell{"template", bold}, o.version(s.Path, s.Current, now))
	if s.Former != nil {
		o.topic(cell{"former", bold}, o.version("the one before", *s.Former, now))
	}
	if s.Manager != "" {
		o.topic(cell{"packages", bold}, cell{text: fmt.Sprintf("%d, by %s", s.Packages, s.Manager)})
	}
	for _, change := range []struct {
		topic string
		names []string
	}{{"lost", s.Lost}, {"new", s.New}} {
		for _, name := range change.names {
			o.topic(cell{change.topic, plain}, cell{text: name})
		}
	}
	for _, version := range s.Modules {
		o.topic(cell{"kernel", bold}, cell{text: version})
	}
	for _, p := range s.Problems() {
		o.topic(cell{"wrong", red}, cell{text: p.What})
		o.topic(cell{"  try", plain}, cell{text: p.Try, style: bold})
	}
}

func (o output) version(what string, v template.Version, now time.Time) cell {
	made := o.moment(v.Created)
	if o.terminal {
		made = ago(v.Created, now)
	}
	return cell{text: fmt.Sprintf("%s, subvolume %d, made %s", what, v.ID, made)}
}

// templateDocument is what `template` prints.
type templateDocument struct {
	Path     string                  `json:"path"` // relative to the top level
	ID       uint64                  `json:"id"`
	Created  *time.Time              `json:"created"`
	Former   *formerTemplateDocument `json:"former"` // null when none is kept
	Manager  string                  `json:"packageManager"`
	Packages int                     `json:"packages"` // installed in the template
	Lost     []string                `json:"lost"`     // of the running root, gone after the next boot
	New      []string                `json:"new"`      // of the template, there after the next boot
	Modules  []string                `json:"kernels"`  // versions that it has modules for
	Problems []problem               `json:"problems"`
}

// formerTemplateDocument is the template before.
type formerTemplateDocument struct {
	ID      uint64     `json:"id"`
	Created *time.Time `json:"created"`
}

func newTemplateDocument(s template.State) templateDocument {
	d := templateDocument{
		Path: s.Path, ID: s.Current.ID, Created: known(s.Current.Created),
		Manager: s.Manager, Packages: s.Packages, Lost: list(s.Lost), New: list(s.New), Modules: list(s.Modules), Problems: []problem{},
	}
	if f := s.Former; f != nil {
		d.Former = &formerTemplateDocument{f.ID, known(f.Created)}
	}
	for _, p := range s.Problems() {
		d.Problems = append(d.Problems, problem{p.What, p.Try})
	}
	return d
}
