package dbus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// Restore starts a job that brings paths of an old root back, and returns what becomes
// of each. The job begins when the results are read, and goes on when they are closed.
func (c *Client) Restore(ctx context.Context, root uint64, o RestoreOptions) (*Results[RestoreResult], error) {
	paths := make([][]byte, len(o.Paths))
	for i, p := range o.Paths {
		paths[i] = append([]byte(p), 0)
	}
	table := options{}
	if o.To != "" {
		table["to"] = godbus.MakeVariant(append([]byte(o.To), 0))
	}
	if o.DryRun {
		table["dryRun"] = godbus.MakeVariant(true)
	}
	results, err := startStream[RestoreResult](ctx, c, "Restore", RootPath(root), paths, table, noFlags)
	return results, wrapf(err, "restore")
}

// ListVersions starts a job that looks a path up in all old roots and in the running
// root, and returns what is there: oldest first, the running root last.
func (c *Client) ListVersions(ctx context.Context, path string) (*Results[Version], error) {
	results, err := startStream[Version](ctx, c, "ListVersions", append([]byte(path), 0), options{}, noFlags)
	return results, wrapf(err, fmt.Sprintf("list versions of %q", path))
}

// BrowseRoot mounts a root read-only, for as long as it is looked at, and returns where.
func (c *Client) BrowseRoot(ctx context.Context, id uint64) (path string, err error) {
	var b []byte
	err = c.call(ctx, RootPath(id), rootInterface, "Browse", []any{options{}, noFlags}, []any{&b})
	return strings.TrimSuffix(string(b), "\x00"), wrapf(noSuchRoot(err, id), "browse root "+strconv.FormatUint(id, 10))
}

// EndBrowse takes the mount of a root away. One that is not mounted is not an error.
func (c *Client) EndBrowse(ctx context.Context, id uint64) error {
	err := c.call(ctx, RootPath(id), rootInterface, "EndBrowse", []any{options{}, noFlags}, nil)
	return wrapf(noSuchRoot(err, id), "end browsing root "+strconv.FormatUint(id, 10))
}
