package persist

import (
	"errors"
	"fmt"
)

// machineID is always bound: systemd does not support it as a symlink. Uninitialized makes systemd write a new one into it
// (machine-id(5)).
const (
	machineID     = "/etc/machine-id"
	uninitialized = "uninitialized\n"
)

// Planned is what is to be done for one entry.
type Planned struct {
	Entry  Entry
	Method Method // how it is put in its place: never Auto
	State  State  // how it stands before
	Err    error  // why it is Conflict, Drifted or Failed
	Steps  []Step // in order; none when it is in place, or when it is better left alone
}

// Plan decides what is to be done for each entry. It is pure: it only looks at the facts.
func Plan(facts Facts, entries []Entry) []Planned {
	plans := make([]Planned, len(entries))
	for i, e := range entries {
		plans[i] = planOne(facts.Users, facts.Entries[i], e)
	}
	return plans
}

func planOne(users Users, facts EntryFacts, e Entry) Planned {
	p := planner{Planned: Planned{Entry: e, Method: e.Method, State: Missing}, users: users, facts: facts}
	p.plan()
	return p.Planned
}

// invalid tells whether an entry is wrong in itself: configuration that no state of the disk could make right.
func invalid(err error) bool {
	return errors.Is(err, ErrUnknownUser) || errors.Is(err, ErrUnknownGroup) || errors.Is(err, ErrInvalidEntry)
}

// planner plans one entry.
type planner struct {
	Planned
	users   Users
	facts   EntryFacts
	owner   sourceOwner
	adopted bool // from the former root: its source is there by then
}

func (p *planner) fail(state State, format string, args ...any) {
	p.State, p.Err, p.Steps = state, fmt.Errorf(format, args...), nil
}

func (p *planner) add(steps ...Step) { p.Steps = append(p.Steps, steps...) }

func (p *planner) plan() {
	if p.facts.Err == nil && p.facts.Former.Kind != Absent && !p.facts.Target.Mount {
		p.adoptFormer()
	}
	e, source, target := p.Entry, p.facts.Source, p.facts.Target
	owner, err := p.users.sourceOwner(e)
	p.owner = owner
	switch {
	case err != nil && (!errors.Is(err, ErrNoUsers) || source.Kind == Absent):
		p.fail(Failed, "%w", err)
		return
	case p.facts.Err != nil:
		p.fail(Failed, "%w", p.facts.Err)
		return
	case source.Kind != Absent && source.Kind != wantedKind(e.Kind):
		p.fail(Failed, "%s is %s: %w", e.Source, source.Kind, ErrWrongKind)
		return
	}
	if p.Method == Auto {
		p.Method = p.chooseMethod()
	}
	switch {
	case p.facts.Itself:
		p.planItself()
	case p.facts.mounted():
		p.planMounted()
	case target.Mount && p.firstBoot():
		p.State = InPlace
	case target.Mount:
		p.fail(Conflict, "%s: %w", e.Target, ErrMountPoint)
	case p.Method == Symlink:
		p.planLink()
	case p.Method == Copy:
		p.planCopy()
	default:
		p.planBind()
	}
}

// firstBoot tells that what is mounted over the place is the id that PID 1 made up for the machine's first boot, which the source, bound
// below it by early boot, asked for. systemd-machine-id-commit.service writes it there when the boot went well. See machine-id(5).
func (p *planner) firstBoot() bool {
	return p.Entry.Target == machineID && p.facts.Source.Kind == IsFile && p.facts.Source.Size == int64(len(uninitialized))
}

// chooseMethod decides what auto means: a directory is bound; so is a file that there is something to bind of. An empty one is nothing, unless
// somebody has asked for it.
func (p *planner) chooseMethod() Method {
	source, target := p.facts.Source, p.facts.Target
	switch {
	case p.Entry.Kind == Directory, p.Entry.Target == machineID:
		return Bind
	case target.Kind == IsSymlink && target.Link == p.Entry.Source:
		return Symlink // put there before the source existed; it shows the source as well as a mount would
	case source.Kind != Absent, target.Kind == IsFile && (!target.Empty || p.Entry.Adopt):
		return Bind
	}
	return Symlink
}

// planMounted is for an entry that is bound already: only what was configured and has changed is put right. What the mount
// hides is still reported.
func (p *planner) planMounted() {
	p.State = InPlace
	p.enforceOwner()
	if p.facts.OptionsDiffer {
		p.add(Step{Op: SetOptions, Path: p.Entry.Target})
	}
	if len(p.Steps) > 0 {
		p.drifted(p.Entry.Target)
	}
	p.noteDifference()
}

// planItself is for a place that is the source: nothing is to be put there but options of a mount. A file that is not there is left to who
// makes it.
func (p *planner) planItself() {
	p.State = InPlace
	switch {
	case p.facts.Source.Kind != Absent:
		if p.enforceOwner(); len(p.Steps) > 0 {
			p.drifted(p.Entry.Target)
		}
	case p.Entry.Kind == File:
		return
	default:
		p.State = Missing
		p.linkSource()
	}
	if p.Method == Bind && len(p.Entry.MountOptions) > 0 {
		p.State = Missing
		p.add(Step{Op: BindMount, Path: p.Entry.Target, From: p.Entry.Source})
	}
}

// enforceOwner sets what was configured of an existing source's owner and mode.
func (p *planner) enforceOwner() {
	have := p.facts.Source.Owner
	if want := p.owner.enforced(have); want != have {
		p.add(Step{Op: SetOwner, Path: p.Entry.Source, Owner: want})
	}
}

// planBind makes the source if there is none, then the place, then the mount.
func (p *planner) planBind() {
	e, target := p.Entry, p.facts.Target
	if !p.planSource() {
		return
	}
	p.clearPlace()
	switch {
	case target.Kind != wantedKind(e.Kind):
		p.makeTargetParents()
		p.add(Step{Op: MakePlace, Path: e.Target, From: e.Source})
	case target.Owner != p.finalOwner():
		p.add(Step{Op: Mirror, Path: e.Target, From: e.Source})
	}
	p.add(Step{Op: BindMount, Path: e.Target, From: e.Source})
}

// planSource makes sure that there is a source to put in place: made new, or from what stands in its place.
func (p *planner) planSource() bool {
	e, source, target := p.Entry, p.facts.Source, p.facts.Target
	if source.Kind != Absent {
		p.enforceOwner()
		if e.Target == machineID && source.Empty {
			p.add(Step{Op: MakeFile, Path: e.Source, Owner: p.owner.Owner, Text: uninitialized})
		}
		return true
	}
	seedable := target.Kind == wantedKind(e.Kind) && (e.Target != machineID || !target.Empty)
	if blocking := target.Kind != Absent && !seedable && !target.Empty && !target.Dangling; blocking && !p.leadsToSource() {
		p.fail(Conflict, "%s is %s: %w", e.Target, target.Kind, ErrWrongKind)
		return false
	}
	p.makeSourceParents()
	switch {
	case seedable:
		p.add(Step{Op: Seed, Path: e.Source, From: e.Target})
		if want := p.owner.enforced(target.Owner); want != target.Owner {
			p.add(Step{Op: SetOwner, Path: e.Source, Owner: want})
		}
	case e.Kind == Directory:
		p.add(Step{Op: MakeDirectory, Path: e.Source, Owner: p.owner.Owner})
	default:
		text := ""
		if e.Target == machineID {
			text = uninitialized
		}
		p.add(Step{Op: MakeFile, Path: e.Source, Owner: p.owner.Owner, Text: text})
	}
	return true
}

// finalOwner is the source's owner after the steps planned so far.
func (p *planner) finalOwner() Owner {
	owner := p.facts.Source.Owner
	if p.facts.Source.Kind == Absent {
		owner = p.owner.Owner
	}
	for _, s := range p.Steps {
		switch {
		case s.Path != p.Entry.Source, s.Op == NoteSeed:
		case s.Op == Seed:
			owner = p.facts.Target.Owner
		case s.Op == SeedFormer:
			owner = p.facts.Former.Owner
		default:
			owner = s.Owner
		}
	}
	return owner
}

func (p *planner) leadsToSource() bool {
	return p.facts.Target.Kind == IsSymlink && p.facts.Target.Link == p.Entry.Source
}

// clearPlace moves aside what a mount can't be put on, and reports what the source does not have.
func (p *planner) clearPlace() {
	e, target := p.Entry, p.facts.Target
	switch {
	case p.leadsToSource():
		p.add(Step{Op: RemoveLink, Path: e.Target})
	case target.Kind == wantedKind(e.Kind):
		if p.noteDifference(); p.facts.Compared && p.facts.Difference == "" {
			p.add(Step{Op: NoteSeed, Path: e.Source, From: e.Target})
		}
	case target.Kind != Absent:
		p.add(Step{Op: MoveAside, Path: e.Target})
		if !target.Dangling && !target.Empty {
			p.State, p.Err = Conflict, fmt.Errorf("%s is %s: %w", e.Target, target.Kind, ErrConflict)
		}
	}
}

// noteDifference reports a conflict when the place holds what the source lacks. The source wins; what it hides stays in
// the root.
func (p *planner) noteDifference() {
	if d := p.facts.Difference; d != "" {
		p.State, p.Err = Conflict, fmt.Errorf("%s: %w", d, ErrConflict)
	}
}

// planLink puts a symlink in place, with what was there kept aside unless the source has it.
func (p *planner) planLink() {
	e, source, target := p.Entry, p.facts.Source, p.facts.Target
	if p.leadsToSource() {
		p.State = InPlace
		if source.Kind == Absent {
			p.linkSource()
		}
		if len(p.Steps) > 0 {
			p.State = Missing
		}
		return
	}
	seedable := target.Kind == wantedKind(e.Kind) && (!target.Empty || e.Adopt)
	switch {
	case source.Kind == Absent && seedable:
		p.planSource()
	case source.Kind == Absent && target.Kind != Absent && !target.Empty && !target.Dangling:
		p.fail(Conflict, "%s is %s: %w", e.Target, target.Kind, ErrWrongKind)
		return
	case source.Kind == Absent:
		p.linkSource()
	default:
		p.enforceOwner()
	}
	p.makeTargetParents()
	p.noteDifference()
	if target.Kind != Absent && !target.Empty && (target.Kind != IsFile || e.Kind != File || p.facts.Difference != "" || p.adopted) {
		p.add(Step{Op: MoveAside, Path: e.Target})
		if source.Kind != Absent && target.Kind != wantedKind(e.Kind) && !target.Dangling {
			p.State, p.Err = Conflict, fmt.Errorf("%s is %s: %w", e.Target, target.Kind, ErrConflict)
		}
	}
	p.add(Step{Op: MakeLink, Path: e.Target, From: e.Source, Owner: p.finalOwner()})
}

// linkSource prepares the volume for a source that does not exist yet: a file's parents, so that a program can write
// through the symlink, and the directory itself.
func (p *planner) linkSource() {
	p.makeSourceParents()
	if p.Entry.Kind == Directory {
		p.add(Step{Op: MakeDirectory, Path: p.Entry.Source, Owner: p.owner.Owner})
	}
}

func (p *planner) makeTargetParents() {
	for _, parent := range p.facts.TargetParents {
		p.add(Step{Op: MakeParent, Path: parent.Path, Owner: p.users.parentOwner(p.Entry, parent.Target, p.facts.Source)})
	}
}

// makeSourceParents makes the parents of a source, each like its counterpart in the root if there is one.
func (p *planner) makeSourceParents() {
	for _, parent := range p.facts.SourceParents {
		owner := p.users.parentOwner(p.Entry, parent.Target, p.facts.Source)
		if parent.Counterpart.Kind == IsDirectory {
			owner = parent.Counterpart.Owner
		}
		p.add(Step{Op: MakeParent, Path: parent.Path, Owner: owner})
	}
}

func wantedKind(k Kind) ObjectKind {
	if k == Directory {
		return IsDirectory
	}
	return IsFile
}
