package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/impermanence/impermanence/daemon/check"
	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/template"
	"github.com/impermanence/impermanence/dbus"
)

// schemaFile describes what --json prints. It is installed.
const schemaFile = "impermanence.schema.json"

// strictSchema returns the schema of a document, so strict that a field which it does not describe is an error. For
// readers it is not: fields may be added.
func strictSchema(t testing.TB, document string) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	closeObjects(parsed)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(schemaFile, parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(schemaFile + "#/$defs/" + document)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// closeObjects forbids in a schema all properties that are not described.
func closeObjects(schema any) {
	switch s := schema.(type) {
	case map[string]any:
		if _, described := s["properties"].(map[string]any); described && s["type"] == "object" {
			s["additionalProperties"] = false
		}
		for _, part := range s {
			closeObjects(part)
		}
	case []any:
		for _, part := range s {
			closeObjects(part)
		}
	}
}

// validate holds a document against the schema of that name.
func validate(t testing.TB, document, text string) {
	t.Helper()
	instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: not JSON: %v\n%s", document, err, text)
	}
	if err := strictSchema(t, document).Validate(instance); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestSchemaDescribesEveryField(t *testing.T) {
	at := time.Unix(1e9, 0)
	failure := dbus.ErrorInfo{Name: "org.impermanence1.Error.Busy", Message: "busy"}
	root := dbus.Root{ID: 256, Name: "a", Kind: "old", Created: at, RolledOver: at, Size: 1, ProtectReasons: []string{"pinned"}}
	entry := dbus.Entry{Target: "/a", Source: "/b", Kind: "file", Method: "auto", Mode: 0o600, State: "failed", LastError: failure}
	job := dbus.Job{ID: 1, Operation: "prune", State: dbus.JobDone, Result: dbus.ResultFailed, Error: failure, Started: at}
	item := dbus.PlanItem{Root: 256, Name: "a", Remove: true, Reasons: []string{"kept by no rule"}}
	full := &state{
		manager: dbus.Manager{Losses: dbus.Losses{Count: 1, Bytes: 2, Looked: at}, LastPrune: at, ConfigurationErrors: []string{"a"}, LastRollover: map[string]any{"outcome": "failed", "error": "e"}},
		roots:   []dbus.Root{root, {Kind: "snapshot", Deleting: true}},
		entries: []dbus.Entry{entry, {Kind: "directory", State: inPlace}},
		jobs:    []dbus.Job{job, {State: dbus.JobRunning}},
		next:    nextBootDocument{Action: nextRoot, ID: 256, Name: "a"},
	}
	taken := newRootDocument(root)
	changes := []changed{
		{target: "/a", job: dbus.Job{Result: dbus.ResultDone, Started: at, State: dbus.JobDone, Details: dbus.Details{"plan": []string{"p"}, "reasons": []string{"r"}, "writers": []string{"w"}}}},
		{target: "/b", err: dbus.ErrBusy},
	}
	for _, test := range []struct {
		document string
		value    any
	}{
		{"status", full.document()},
		{"status", (&state{}).document()},
		{"roots", rootsDocument{rootDocuments(full.roots)}},
		{"roots", newRootsDocument(full.roots, map[uint64]dbus.PlanItem{full.roots[0].ID: item})},
		{"roots", rootsDocument{rootDocuments(nil)}},
		{"plan", planDocument{planDocuments([]dbus.PlanItem{item, {}})}},
		{"deleted", deletedDocument{newJobDocument(job), planDocuments([]dbus.PlanItem{item}), planDocuments(nil)}},
		{"snapshot", snapshotDocument{newJobDocument(job), &taken}},
		{"snapshot", snapshotDocument{newJobDocument(job), nil}},
		{"persist", newPersistDocument(persisting{all: changes, applied: &job}, full.entries)},
		{"persist", newPersistDocument(persisting{}, nil)},
		{"forget", forgetDocument{changeDocuments(changes)}},
		{"orphans", orphansDocument{orphanDocuments([]dbus.Orphan{{Path: "/p/a", Kind: "other", Volume: "/p"}})}},
		{"orphans", orphansDocument{orphanDocuments(nil)}},
		{"restore", newRestoreDocument([]dbus.RestoreResult{{Path: "/a\xff", Target: "/b", Action: "failed", Error: &failure}, {Action: "restored"}}, dbus.Job{State: dbus.JobDone}, []changed{{target: "/b"}})},
		{"restore", newRestoreDocument(nil, dbus.Job{State: dbus.JobDone}, nil)},
		{"log", newLogDocument("/a", []dbus.Version{{Root: 1, Name: "n", RolledOverUSec: 1, Version: 1, Kind: "file", ModifiedUSec: 1}, {Kind: "absent", Error: &failure}})},
		{"log", newLogDocument("/a", nil)},
		{"browse", browseDocument{1, "n", "/p"}},
		{"import", importDocument{"a = 1\n", []string{"b"}}},
		{"report", reportDocument{[]section{{"Versions", "a\nb"}}}},
		{"diff", dbus.FileChange{
			Change: "renamed", Path: "/a\xff", From: "/b", Type: "file", Size: 1, Link: true, Mode: 0o644, Modified: at.UTC(), Changed: at.UTC(), Aspects: []string{"mode"},
			Before: &dbus.FileBefore{Type: "file", Modified: at.UTC()}, Subvolume: 256, Rule: "a:1: b",
		}},
		{"diff", dbus.FileChange{Change: "added", Type: "subvolume"}},
		{"template", newTemplateDocument(template.State{
			Path: "root-template", Current: template.Version{ID: 257, Created: at}, Former: &template.Version{ID: 256, Created: at}, Manager: "dpkg",
			Packages: 1, Lost: []string{"a 1"}, New: []string{"b 1"}, Modules: []string{"6.1"}, Without: []machine.Kernel{{File: "/boot/vmlinuz", Version: "7"}},
		})},
		{"template", newTemplateDocument(template.State{Current: template.Version{ID: 256}})},
		{"check", newCheckDocument([]check.Finding{{ID: "kernel", Level: check.Error, What: "a", Try: "b"}, {ID: "quotas", Level: check.Warning}})},
		{"check", newCheckDocument(nil)},
		{"next", nextDocument{full.next}},
		{"next", nextDocument{nextBootDocument{Action: nextFresh}}},
	} {
		data, err := json.Marshal(test.value)
		if err != nil {
			t.Fatal(err)
		}
		validate(t, test.document, string(data))
	}
}

func TestSchemaRefusesWhatItDoesNotDescribe(t *testing.T) {
	for _, text := range []string{
		`{}`,
		`{"nextBoot": {"action": "fresh", "id": 0}}`,
		`{"nextBoot": {"action": "fresh", "id": 0, "name": ""}, "more": 1}`,
		`{"nextBoot": {"action": "other", "id": 0, "name": ""}}`,
	} {
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if strictSchema(t, "next").Validate(instance) == nil {
			t.Errorf("accepted: %s", text)
		}
	}
}
