package main

import "github.com/impermanence/impermanence/dbus"

func newPersistDocument(p persisting, entries []dbus.Entry) persistDocument {
	document := persistDocument{Changes: changeDocuments(p.all), Entries: entryDocuments(entries)}
	if p.applied != nil {
		job := newJobDocument(*p.applied)
		document.Job = &job
	}
	return document
}

func changeDocuments(all []changed) []changeDocument {
	documents := make([]changeDocument, len(all))
	for i, c := range all {
		d := changeDocument{Target: dbus.Bytes(c.target), Plan: []planStepDocument{}, Writers: list(details(c.job, "writers"))}
		reasons := details(c.job, "reasons")
		for n, step := range details(c.job, "plan") {
			if n < len(reasons) {
				d.Plan = append(d.Plan, planStepDocument{step, reasons[n]})
			}
		}
		if c.err == nil {
			job := newJobDocument(c.job)
			d.Job = &job
		}
		if err := c.failure(); err != nil {
			text := err.Error()
			d.Error = &text
		}
		documents[i] = d
	}
	return documents
}
