package persist

import "fmt"

// planCopy decides which way a file is copied. In a root where the two sides never were the same, the source wins: that is
// every boot. Later in that root, what changed wins over what did not; when both did, the place, which a program uses, is
// copied back and the source's content is kept beside it.
func (p *planner) planCopy() {
	e, source, target, sums := p.Entry, p.facts.Source, p.facts.Target, p.facts.Copy
	switch {
	case p.adopted:
		p.copyAdopted()
	case target.Kind != IsFile && target.Kind != Absent:
		p.replaceByCopy()
	case source.Kind == Absent && target.Kind == Absent:
		p.State = InPlace // there is nothing on either side
	case source.Kind == Absent:
		if want := p.owner.enforced(target.Owner); want != target.Owner {
			p.add(Step{Op: SetOwner, Path: e.Target, Owner: want})
		}
		p.makeSourceParents()
		p.add(Step{Op: CopyOut, Path: e.Source, From: e.Target})
	case target.Kind == Absent:
		p.copyIn()
	case sums.Source == sums.Target:
		p.planSame()
	case sums.Noted == "":
		p.noteDifference()
		if p.facts.Difference != "" {
			p.add(Step{Op: MoveAside, Path: e.Target})
		}
		p.copyIn()
	case sums.Noted == sums.Target:
		p.drifted(e.Source)
		p.copyIn()
	case sums.Noted == sums.Source:
		p.drifted(e.Target)
		p.add(Step{Op: CopyOut, Path: e.Source, From: e.Target})
	default:
		p.State, p.Err = Conflict, fmt.Errorf("%s and %s both changed: %w", e.Source, e.Target, ErrConflict)
		p.add(Step{Op: CopyOut, Path: e.Source, From: e.Target, Aside: true})
	}
}

func (p *planner) drifted(changed string) {
	p.State, p.Err = Drifted, fmt.Errorf("%s: %w", changed, ErrDrifted)
}

// planSame is for two sides that hold the same.
func (p *planner) planSame() {
	if p.facts.Copy.Noted != p.facts.Copy.Source {
		p.add(Step{Op: NoteCopy, Path: p.Entry.Source, From: p.Entry.Target})
		return
	}
	p.State = InPlace
	if p.enforceOwner(); len(p.Steps) > 0 {
		p.drifted(p.Entry.Target)
		p.add(Step{Op: CopyIn, Path: p.Entry.Target, From: p.Entry.Source})
	}
}

func (p *planner) copyIn() {
	p.enforceOwner()
	p.makeTargetParents()
	p.add(Step{Op: CopyIn, Path: p.Entry.Target, From: p.Entry.Source})
}

// replaceByCopy clears a place that no file stands in.
func (p *planner) replaceByCopy() {
	e, source, target := p.Entry, p.facts.Source, p.facts.Target
	switch {
	case p.leadsToSource():
		p.add(Step{Op: RemoveLink, Path: e.Target})
	case source.Kind == Absent && !target.Dangling:
		p.fail(Conflict, "%s is %s: %w", e.Target, target.Kind, ErrWrongKind)
		return
	default:
		p.add(Step{Op: MoveAside, Path: e.Target})
		if !target.Dangling {
			p.State, p.Err = Conflict, fmt.Errorf("%s is %s: %w", e.Target, target.Kind, ErrConflict)
		}
	}
	if source.Kind != Absent {
		p.copyIn()
	}
}
