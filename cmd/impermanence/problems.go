package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/impermanence/impermanence/dbus"
)

// problem is something that is wrong, and what to type to put it right.
type problem struct {
	What string `json:"what"`
	Try  string `json:"try"`
}

// topLevel is where the top level is mounted in the running system.
const topLevel = "/run/impermanence/top/"

// problems returns what is wrong, the most urgent first.
func (s *state) problems() []problem {
	found := []problem{}
	for _, text := range s.manager.ConfigurationErrors {
		found = append(found, problem{"configuration: " + text, "systemctl reload impermanenced.service"})
	}
	if s.manager.ReloadNeeded {
		found = append(found, problem{"the configuration has changed since it was read", "systemctl reload impermanenced.service"})
	}
	if s.unlisted != nil && !errors.Is(s.unlisted, dbus.ErrInvalidConfiguration) { // that is told, or there is none
		found = append(found, problem{"old roots can't be listed: " + s.unlisted.Error(), adviceFor(s.unlisted)})
	}
	found = append(found, s.boot.problems()...)
	for _, e := range s.entries {
		if e.State != inPlace && e.State != nextBootState {
			found = append(found, entryProblem(e))
		}
	}
	for _, r := range s.roots {
		switch {
		case r.Deleting:
			found = append(found, problem{"the deletion of " + r.Name + " has not finished", "sudo impermanence prune"})
		case r.HeldRoot != "":
			found = append(found, problem{
				r.Name + " holds another root, which a script moved into it, and which would be deleted with it",
				fmt.Sprintf("sudo mv --no-target-directory %s %s", quote(topLevel+r.HeldRoot), quote(topLevel+r.Path+".held")),
			})
		}
	}
	return found
}

// problems returns what went wrong at this boot.
func (b boot) problems() []problem {
	const look = "journalctl -b | grep impermanence" // a unit's in a systemd initrd, the kernel's in another
	var found []problem
	switch {
	case b.Outcome == "failed":
		found = append(found, problem{"this boot has no fresh root: " + b.Error, look})
	case b.Outcome == "":
		found = append(found, problem{"early boot left no record: it did not run, or is not a part of the initrd", look})
	case b.Error != "":
		found = append(found, problem{"at this boot: " + b.Error, look})
	}
	for _, f := range b.Failures {
		found = append(found, problem{"no fresh root at " + f, look})
	}
	return found
}

// entryProblem says what is wrong with an entry that is not in place. What is in the way of one is moved, not deleted.
func entryProblem(e dbus.Entry) problem {
	target, what := quote(e.Target), e.LastError.Message
	switch {
	case what == "" && e.State == "missing":
		what = e.Target + " is not in place yet"
	case what == "":
		what = e.Target + " is not in place: " + e.State
	case !strings.Contains(what, e.Target):
		what = e.Target + ": " + what
	}
	if e.State == "conflict" {
		return problem{what, fmt.Sprintf("sudo mv --backup=numbered --no-target-directory %s %s && sudo impermanence persist %s", target, quote(e.Target+".before"), target)}
	}
	return problem{what, "sudo impermanence persist " + target}
}
