package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// statusCommand shows on one screen how things are.
func (a *app) statusCommand() *cobra.Command {
	var problems bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what happened at this boot, what is kept, and what is wrong",
		Long: `Show on one screen: whether the root was fresh at this boot, from what, and
where the former one is; what the next boot does, and how much it will lose; the
entries that are in place and those that are not; the old roots, and what the
next prune deletes; what is wrong, each with what to type.`,
		Example: `  impermanence status
  impermanence status --problems
  impermanence status --json | jq .problems`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			look := a.state
			if problems && !a.json {
				look = a.troubles
			}
			s, err := look(cmd.Context())
			switch {
			case err != nil:
				return err
			case a.json:
				return a.stdout.document(s.document())
			case problems:
				a.stdout.problems(s)
			default:
				a.stdout.status(s, time.Now())
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	cmd.Flags().BoolVar(&problems, "problems", false, "show only what is wrong; nothing when all is well")
	return cmd
}

// state is all that the daemon knows, at one moment.
type state struct {
	manager dbus.Manager
	boot    boot
	next    nextBootDocument
	roots   []dbus.Root
	entries []dbus.Entry
	jobs    []dbus.Job // those that have not ended
	doomed  int        // how many roots the next prune deletes

	unlisted error // why the roots can't be listed
}

// state asks the daemon for all that it knows.
func (a *app) state(ctx context.Context) (*state, error) {
	s, err := a.troubles(ctx)
	if err != nil {
		return nil, err
	}
	if len(s.roots) > 0 {
		plan, err := a.client.PlanPrune(ctx, dbus.PruneOptions{})
		if err != nil {
			return nil, err
		}
		s.doomed = len(slices.DeleteFunc(plan, func(item dbus.PlanItem) bool { return !item.Remove }))
	}
	if s.jobs, err = a.client.Jobs(ctx); err != nil {
		return nil, err
	}
	s.jobs = slices.DeleteFunc(s.jobs, func(j dbus.Job) bool { return j.State == dbus.JobDone })
	names := map[uint64]string{}
	for _, r := range s.roots {
		names[r.ID] = r.Name
	}
	s.next = newNextBoot(s.manager.NextBoot, names)
	return s, nil
}

// troubles asks the daemon for what the problems are found in, and no more: a boot does.
func (a *app) troubles(ctx context.Context) (*state, error) {
	client, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	s := &state{}
	if s.manager, err = client.Manager(ctx); err != nil {
		return nil, err
	}
	if s.roots, err = client.Roots(ctx); err != nil {
		return nil, err
	}
	if len(s.roots) == 0 {
		_, s.unlisted = client.ListRoots(ctx, dbus.RootFilter{})
	}
	if s.entries, err = client.Entries(ctx); err != nil {
		return nil, err
	}
	s.boot = newBoot(s.manager.LastRollover)
	return s, nil
}

// document returns the state as --json prints it.
func (s *state) document() statusDocument {
	d := statusDocument{
		Version:             s.manager.Version,
		Filesystem:          s.manager.Filesystem,
		BootedRoot:          s.manager.BootedRoot,
		LastRollover:        s.manager.LastRollover,
		NextBoot:            s.next,
		LastPrune:           known(s.manager.LastPrune),
		NextPruneDeletes:    s.doomed,
		Roots:               rootDocuments(s.roots),
		Entries:             entryDocuments(s.entries),
		ActiveJobs:          []jobDocument{},
		ConfigurationErrors: list(s.manager.ConfigurationErrors),
		Problems:            s.problems(),
	}
	if l := s.manager.Losses; !l.Looked.IsZero() {
		d.Losses = &lossesDocument{l.Count, l.Bytes, l.Looked.UTC()}
	}
	if d.LastRollover == nil {
		d.LastRollover = map[string]any{}
	}
	for _, j := range s.jobs {
		d.ActiveJobs = append(d.ActiveJobs, newJobDocument(j))
	}
	return d
}

// status prints the screen: one topic after the other, and what is wrong at the end, where the eye is.
func (o output) status(s *state, now time.Time) {
	o.topic(cell{text: "this boot"}, s.boot.lines(o, now)...)
	o.topic(cell{text: "next boot"}, nextLine(s.next, s.manager.Losses))
	o.topic(cell{text: "entries"}, entryLine(s.entries))
	o.topic(cell{text: "old roots"}, cell{text: rootLine(s.roots)})
	if len(s.roots) > 0 {
		o.topic(cell{text: "next prune"}, cell{text: pruneLine(s.doomed)})
	}
	if last := s.manager.LastPrune; !last.IsZero() {
		o.topic(cell{text: "last prune"}, cell{text: o.when(last, now)})
	}
	for _, j := range s.jobs {
		o.topic(cell{text: "running"}, cell{text: jobLine(j)})
	}
	o.problems(s)
}

// problems prints what is wrong, each with what to type.
func (o output) problems(s *state) {
	for _, p := range s.problems() {
		o.line("")
		o.topic(cell{"wrong", red}, cell{text: p.What})
		// What is to be typed is not wrapped, so that it can be copied.
		o.line("%s%s", o.paint(bold, pad("  try", topicWidth)), o.text(p.Try))
	}
}

// nextLine says what the next boot does with the root, and what it will lose.
func nextLine(next nextBootDocument, losses dbus.Losses) cell {
	switch next.Action {
	case nextFresh:
		return cell{text: "fresh root" + lossText(losses)}
	case nextKeep:
		return cell{"the root is kept, once", yellow}
	case nextRoot:
		return cell{"a copy of " + next.Name + ", once" + lossText(losses), yellow}
	default:
		return cell{text: next.Action}
	}
}

// lossText says what will be lost, as far as that is known.
func lossText(l dbus.Losses) string {
	switch {
	case l.Looked.IsZero():
		return ""
	case l.Count == 0:
		return "; loses nothing"
	default:
		return fmt.Sprintf("; loses %s, %s (impermanence diff)", count(int(l.Count), "file"), size(l.Bytes))
	}
}

// entryLine says how many entries are in place.
func entryLine(entries []dbus.Entry) cell {
	if len(entries) == 0 {
		return cell{"none configured: nothing persists", yellow}
	}
	number := map[string]int{}
	for _, e := range entries {
		number[e.State]++
	}
	line := cell{fmt.Sprintf("%d in place", number[inPlace]), green}
	if next := number[nextBootState]; next > 0 {
		line.text += fmt.Sprintf(", %d at the next boot", next)
	}
	if not := len(entries) - number[inPlace] - number[nextBootState]; not > 0 {
		line.text, line.style = fmt.Sprintf("%s, %d not", line.text, not), red
	}
	return line
}

// rootLine says how many old roots and snapshots are kept, and what they hold.
func rootLine(roots []dbus.Root) string {
	var old, snapshots, pinned int
	var held uint64
	for _, r := range roots {
		switch r.Kind {
		case kindSnapshot:
			snapshots++
		case "discarded": // no root
		default:
			old++
		}
		if r.Pinned {
			pinned++
		}
		held += r.Size
	}
	parts := []string{strconv.Itoa(old)}
	if snapshots > 0 {
		parts = append(parts, count(snapshots, "snapshot"))
	}
	if pinned > 0 {
		parts = append(parts, fmt.Sprintf("%d pinned", pinned))
	}
	if held > 0 {
		parts = append(parts, "about "+size(held)+" that only they hold")
	}
	return strings.Join(parts, ", ")
}

// pruneLine says what the next prune deletes.
func pruneLine(doomed int) string {
	if doomed == 0 {
		return "nothing to delete"
	}
	return count(doomed, "root") + " to delete; impermanence prune --dry-run says why"
}

// kindSnapshot is the kind of a root that was copied on request.
const kindSnapshot = "snapshot"

// jobLine says what a job does and how far it is.
func jobLine(j dbus.Job) string {
	line := j.Operation
	if j.ItemsTotal > 0 {
		line += fmt.Sprintf(", %d of %d", j.ItemsDone, j.ItemsTotal)
	}
	if j.Stage != "" {
		line += ", " + j.Stage
	}
	return line
}
