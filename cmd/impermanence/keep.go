package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// keepFlags are the options of persist and forget for what is or was added while the system runs.
type keepFlags struct {
	now, nextBoot, dryRun bool
	change                dbus.EntryChange // without Deed and Target
	given                 []string         // their names, as typed
}

// addWhen adds the options that both commands have. More calls change nothing that was given.
func (k *keepFlags) addWhen(cmd *cobra.Command, now, next, dryRun string) {
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&k.now, "now", false, now)
	cmd.Flags().BoolVar(&k.nextBoot, "next-boot", false, next)
	cmd.Flags().BoolVar(&k.dryRun, "dry-run", false, dryRun)
}

// addEntry adds the options that say what a new entry is like.
func (k *keepFlags) addEntry(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.change.Volume, "volume", "", "keep it on this persistent `VOLUME` (default: the only one)")
	_ = cmd.RegisterFlagCompletionFunc("volume", a.completeVolumes)
	addWord(cmd, &k.change.Method, "method", "put it in its place by this `METHOD`: auto (default), bind, symlink or copy", "auto", "bind", "symlink", "copy")
	addWord(cmd, &k.change.Kind, "kind", "make a `KIND`, directory or file, where nothing is yet", "directory", "file")
}

// read finishes the reading of the options.
func (k *keepFlags) read(cmd *cobra.Command, paths int) error {
	k.change.NextBoot, k.change.DryRun = k.nextBoot, k.dryRun
	for _, name := range []string{"now", "next-boot", "dry-run", "volume", "method", "kind"} {
		if cmd.Flags().Changed(name) {
			k.given = append(k.given, "--"+name)
		}
	}
	switch {
	case k.now && k.nextBoot:
		return &usageError{fmt.Errorf("%s: --now and --next-boot at once", cmd.Name()), cmd.CommandPath() + " --help"}
	case paths == 0 && len(k.given) > 0:
		return &usageError{fmt.Errorf("%s: %s without a PATH", cmd.Name(), k.given[0]), cmd.CommandPath() + " " + k.given[0] + " PATH"}
	case k.change.Volume == "":
		return nil
	}
	volume, err := absolutePath(k.change.Volume)
	k.change.Volume = volume
	return err
}

// shapes tells whether an option says what an entry is like.
func shapes(option string) bool {
	return option == "--volume" || option == "--method" || option == "--kind"
}

// changed is what became of one path.
type changed struct {
	verb   string // the command that was typed
	target string
	job    dbus.Job
	err    error // why there was no job
}

// failure is why the path is not as asked for; nil when it is.
func (c *changed) failure() error {
	if c.err != nil {
		return c.err
	}
	job := c.job
	job.Operation = c.verb
	return outcome(job)
}

// errBefore is about what an interrupt came before.
var errBefore = fmt.Errorf("%w before anything was done", dbus.ErrCanceled)

// changeAll begins or ends to keep paths, one after the other, and goes on after a failure.
func (a *app) changeAll(ctx context.Context, deed dbus.EntryDeed, targets []string, k *keepFlags) []changed {
	verb := map[dbus.EntryDeed]string{dbus.AddEntry: "persist", dbus.RemoveEntry: "forget"}[deed]
	all := make([]changed, 0, len(targets))
	for _, target := range targets {
		c := changed{verb: verb, target: target}
		if len(all) > 0 && ctx.Err() != nil {
			c.err = fmt.Errorf("%s %s: %w", verb, target, errBefore)
			all = append(all, c)
			continue
		}
		change := k.change
		change.Deed, change.Target = deed, target
		id, err := a.client.ChangeEntry(ctx, change)
		if err == nil {
			c.job, err = a.await(ctx, id)
		}
		c.err = err
		all = append(all, c)
	}
	return all
}

// explainChanges returns the error that changes end with, with what to type next.
func explainChanges(all []changed, wanted int, try func(c changed, err error) string) error {
	var problems []error
	next := ""
	for _, c := range all {
		err := c.failure()
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), c.target) {
			err = fmt.Errorf("%s: %w", c.target, err)
		}
		problems = append(problems, err)
		if next == "" {
			next = try(c, err)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	err := problems[0]
	if more := len(problems) - 1; more > 0 {
		err = fmt.Errorf("%w; and %d more", err, more)
	}
	if len(problems) < wanted {
		err = fmt.Errorf("%w: %w", errPartly, err)
	}
	if next == "" {
		return err
	}
	return &advised{err, next}
}

// both is the error about two things, on one line.
func both(first, second error) error {
	if first == nil || second == nil {
		return cmp.Or(first, second)
	}
	return fmt.Errorf("%w; %w", first, second)
}

// printChanges prints the plan when nothing else was asked for, and else what was done.
func (a *app) printChanges(all []changed, done string) {
	var plan, results [][]cell
	for _, c := range all {
		if c.failure() != nil {
			continue
		}
		steps, reasons := details(c.job, "plan"), details(c.job, "reasons")
		for i, step := range steps {
			if c.job.Details["dryRun"] == true && i < len(reasons) {
				plan = append(plan, []cell{{text: c.target}, {text: step}, {text: reasons[i]}})
			}
		}
		if c.job.Details["dryRun"] != true {
			results = append(results, []cell{{done, green}, {text: c.target}, {text: c.whatNow()}})
		}
	}
	if len(plan) > 0 {
		a.stdout.table([]column{{heading: "TARGET"}, {heading: "STEP"}, {heading: "REASON", wrap: true}}, plan)
	}
	if len(results) > 0 {
		a.stdout.table([]column{{heading: "RESULT"}, {heading: "TARGET"}, {heading: "ACTION", wrap: true}}, results)
	}
}

// whatNow tells what was done with a path, or when it will be.
func (c *changed) whatNow() string {
	if c.job.Details["nextBoot"] == true {
		return "at the next boot"
	}
	var actions []string
	for _, action := range details(c.job, "actions") {
		actions = append(actions, strings.TrimPrefix(action, c.target+": "))
	}
	return strings.Join(actions, "; ")
}

// details gives a detail of a job that is a list of texts.
func details(job dbus.Job, name string) []string {
	list, _ := job.Details[name].([]string)
	return list
}

// writers tells whether somebody has files open for writing there.
func (c *changed) writers() bool { return len(details(c.job, "writers")) > 0 }

// absolute makes the paths of the command line absolute, each once.
func absolute(paths []string) ([]string, error) {
	var targets []string
	for _, path := range paths {
		target, err := absolutePath(path)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(targets, target) {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// absolutePath makes a path absolute. An empty one, which a variable of a script is that was never set, would be the
// working directory.
func absolutePath(path string) (string, error) {
	if path == "" {
		return "", &usageError{errors.New("a PATH is empty"), usage}
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %q: %w", path, err)
	}
	return absolute, nil
}

// isRefusal tells whether the daemon refused for one of these reasons.
func isRefusal(err error, reasons ...error) bool {
	return slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) })
}
