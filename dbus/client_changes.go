package dbus

import (
	"context"

	godbus "github.com/godbus/dbus/v5"
)

// ListLosses starts a job that finds what the next boot will lose. Whoever gets the results closes them.
func (c *Client) ListLosses(ctx context.Context, f ChangeFilter) (*Results[FileChange], error) {
	r, err := startStream[FileChange](ctx, c, "ListLosses", f.options(), noFlags)
	return r, wrapf(err, "list losses")
}

// CompareRoots starts a job that finds in what a root differs from a base. 0 is the running root as the root, and what a
// fresh root would be as the base. Whoever gets the results closes them.
func (c *Client) CompareRoots(ctx context.Context, base, root uint64, f ChangeFilter) (*Results[FileChange], error) {
	r, err := startStream[FileChange](ctx, c, "CompareRoots", comparedPath(base), comparedPath(root), f.options(), noFlags)
	return r, wrapf(err, "compare roots")
}

func comparedPath(id uint64) ObjectPath {
	if id == 0 {
		return NoPath
	}
	return RootPath(id)
}

// options are what is given of a filter.
func (f *ChangeFilter) options() options {
	table := options{}
	if len(f.Paths) > 0 {
		paths := make([][]byte, len(f.Paths))
		for i, p := range f.Paths {
			paths[i] = append([]byte(p), 0)
		}
		table["paths"] = godbus.MakeVariant(paths)
	}
	if !f.Since.IsZero() {
		table["sinceUSec"] = godbus.MakeVariant(toUSec(f.Since))
	}
	if f.Ignored {
		table["ignored"] = godbus.MakeVariant(true)
	}
	return table
}
