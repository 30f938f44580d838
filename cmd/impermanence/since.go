package main

import (
	"context"
	"fmt"
	"time"

	"github.com/impermanence/impermanence/daemon/config"
)

// timeLayouts are the forms of a time on the command line, in the local zone where none is said.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// since returns the moment that a word means: a time, so long ago, or the beginning of a boot.
func (a *app) since(ctx context.Context, word string, now time.Time) (time.Time, error) {
	if at, known := parseSince(word, now); known {
		return at, nil
	}
	at, known, err := a.bootTime(ctx, word)
	if err == nil && !known {
		err = &usageError{fmt.Errorf("diff: --since: %q is no time and no boot that is known", word), "impermanence diff --since 2h"}
	}
	return at, err
}

// parseSince reads a time, or a length of time before now.
func parseSince(word string, now time.Time) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if at, err := time.ParseInLocation(layout, word, now.Location()); err == nil {
			return at, true
		}
	}
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch word {
	case "today":
		return midnight, true
	case "yesterday":
		return midnight.AddDate(0, 0, -1), true
	}
	if clock, err := time.Parse("15:04", word); err == nil {
		at := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, now.Location())
		if at.After(now) { // yesterday evening
			at = at.AddDate(0, 0, -1)
		}
		return at, true
	}
	if ago, err := config.ParseDuration(word); err == nil {
		return now.Add(-ago), true
	}
	return time.Time{}, false
}

// bootTime returns when a boot began: this one, or one whose root is kept, by its id.
func (a *app) bootTime(ctx context.Context, word string) (time.Time, bool, error) {
	m, err := a.client.Manager(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	this, _ := m.LastRollover["bootID"].(string)
	usec, recorded := m.LastRollover["timeUSec"].(uint64)
	if recorded && (word == "boot" || word == this) {
		return time.UnixMicro(int64(usec)), true, nil
	}
	roots, err := a.client.Roots(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	for _, r := range roots {
		if r.BootID == word && r.Kind == "old" {
			return r.Created, true, nil
		}
	}
	return time.Time{}, false, nil
}
