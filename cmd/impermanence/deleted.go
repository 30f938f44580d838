package main

import (
	"context"
	"strings"

	"github.com/impermanence/impermanence/dbus"
)

// deleted waits for a job that deletes the roots of the plan, and prints which are gone and which are not.
func (a *app) deleted(ctx context.Context, id uint64, plan []dbus.PlanItem) error {
	job, err := a.await(ctx, id)
	if err != nil {
		return err
	}
	gone, left, err := a.outcomes(ctx, plan, job)
	if err != nil {
		return err
	}
	explain(left, job)
	if a.json {
		err = a.stdout.document(deletedDocument{newJobDocument(job), planDocuments(gone), planDocuments(left)})
	} else {
		a.printDeleted(gone, left)
	}
	if err != nil {
		return err
	}
	return outcome(job)
}

// outcomes divides the plan, with what the job deleted beyond it, into the roots that are gone and those that are still
// there and were to go. What a job left that did all it had to was not in want of space any more. What the job does not tell of
// (it was canceled, or the daemon was killed) is looked up.
func (a *app) outcomes(ctx context.Context, plan []dbus.PlanItem, job dbus.Job) (gone, left []dbus.PlanItem, err error) {
	names, _ := job.Details["deleted"].([]string)
	plan = withMore(plan, names)
	if len(plan) == len(names) {
		return plan, nil, nil
	}
	roots, err := a.client.ListRoots(context.WithoutCancel(ctx), dbus.RootFilter{})
	if err != nil {
		return nil, nil, err
	}
	gone, left = split(plan, roots)
	if job.Result == dbus.ResultDone {
		left = nil
	}
	return gone, left, nil
}

// withMore returns the plan with what the job deleted beyond it: while it runs, the want of space can grow.
func withMore(plan []dbus.PlanItem, deleted []string) []dbus.PlanItem {
	planned := make(map[string]bool, len(plan))
	for _, item := range plan {
		planned[item.Name] = true
	}
	for _, name := range deleted {
		if !planned[name] {
			plan = append(plan, dbus.PlanItem{Name: name, Remove: true, Reasons: []string{"for want of space"}})
		}
	}
	return plan
}

// explain replaces the reasons to delete a root by why it was not, where the job tells.
func explain(left []dbus.PlanItem, job dbus.Job) {
	failed, _ := job.Details["failed"].([]string)
	for i, item := range left {
		for _, line := range failed {
			if why, ok := strings.CutPrefix(line, item.Name+": "); ok {
				left[i].Reasons = []string{why}
			}
		}
	}
}

// split divides a plan into the roots that are gone and those that are still there.
func split(plan []dbus.PlanItem, roots []dbus.RootEntry) (gone, left []dbus.PlanItem) {
	there := make(map[uint64]bool, len(roots))
	for _, r := range roots {
		there[r.ID] = true
	}
	for _, item := range plan {
		if there[item.Root] {
			left = append(left, item)
		} else {
			gone = append(gone, item)
		}
	}
	return gone, left
}

// printDeleted prints one line for each root that is gone, and one for each that is not.
func (a *app) printDeleted(gone, left []dbus.PlanItem) {
	rows := make([][]cell, 0, len(gone)+len(left))
	for _, item := range gone {
		rows = append(rows, []cell{{text: "deleted"}, {text: item.Name}, {text: strings.Join(item.Reasons, "; ")}})
	}
	for _, item := range left {
		rows = append(rows, []cell{{"not deleted", red}, {text: item.Name}, {text: strings.Join(item.Reasons, "; ")}})
	}
	if len(rows) > 0 {
		a.stdout.table([]column{{heading: "RESULT"}, {heading: "NAME"}, {heading: "REASON", wrap: true}}, rows)
	}
}
