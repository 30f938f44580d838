package dbus

import (
	"context"
	"errors"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// ChangeEntry starts a job that begins or ends to keep an entry, or takes its mount away.
func (c *Client) ChangeEntry(ctx context.Context, change EntryChange) (job uint64, err error) {
	path := append([]byte(change.Target), 0)
	switch change.Deed {
	case AddEntry:
		job, err = c.start(ctx, "AddPersistence", path, change.options(), noFlags)
	case RemoveEntry:
		job, err = c.start(ctx, "RemovePersistence", path, change.options(), noFlags)
	case UnmountEntry:
		job, err = c.unmountEntry(ctx, change.Target)
	default:
		err = ErrInvalidArgs
	}
	return job, wrapf(err, string(change.Deed)+" entry")
}

func (c *Client) unmountEntry(ctx context.Context, target string) (uint64, error) {
	var job ObjectPath
	err := c.call(ctx, EntryPath(target), entryInterface, "Unmount", []any{options{}, noFlags}, []any{&job})
	switch {
	case errors.Is(err, ErrUnknownObject):
		return 0, ErrNoSuchEntry
	case err != nil:
		return 0, err
	}
	return ParseJobPath(job)
}

// options are what is given of a change.
func (c *EntryChange) options() options {
	table := options{}
	for key, text := range map[string]string{"volume": c.Volume, "kind": c.Kind, "method": c.Method, "user": c.User, "group": c.Group} {
		if text != "" {
			table[key] = godbus.MakeVariant(text)
		}
	}
	if c.Mode != nil {
		table["mode"] = godbus.MakeVariant(*c.Mode)
	}
	if c.NextBoot {
		table["when"] = godbus.MakeVariant("next-boot")
	}
	if c.DryRun {
		table["dryRun"] = godbus.MakeVariant(true)
	}
	return table
}

// Orphans lists what lies on a persistent volume, or on all when none is named, and no
// entry declares.
func (c *Client) Orphans(ctx context.Context, volume string) ([]Orphan, error) {
	table := options{}
	if volume != "" {
		table["volume"] = godbus.MakeVariant(volume)
	}
	var rows []struct {
		Path         []byte
		Kind, Volume string
	}
	if err := c.manage(ctx, "ListOrphans", []any{table, noFlags}, []any{&rows}); err != nil {
		return nil, wrapf(err, "list orphans")
	}
	orphans := make([]Orphan, len(rows))
	for i, row := range rows {
		orphans[i] = Orphan{strings.TrimSuffix(string(row.Path), "\x00"), row.Kind, row.Volume}
	}
	return orphans, nil
}
