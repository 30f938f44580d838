package dbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

const (
	actionRestore     = BusName + ".restore"
	actionBrowseRoots = BusName + ".browse-roots"
)

// streaming makes a deed of something that starts a job whose result is streamed.
func (s *Server) streaming(do func(context.Context, Caller, *Stream) (uint64, error)) func(context.Context, Caller) (body, error) {
	return func(ctx context.Context, caller Caller) (body, error) {
		stream, err := s.streams.create(caller.UID)
		if err != nil {
			return body{}, err
		}
		id, err := do(ctx, caller, stream)
		if err != nil {
			return body{}, errors.Join(err, stream.Close())
		}
		return body{"oay", func(e *encoder) { e.path(JobPath(id)); e.bytestring(stream.path) }}, nil
	}
}

func planRestore(s *Server, c *call) (deed, error) {
	id, err := ParseRootPath(c.args[0].(ObjectPath))
	if err != nil {
		return deed{}, err
	}
	root, err := s.root(id)
	if err != nil {
		return deed{}, err
	}
	o, err := restoreOptions(c.args[1].([][]byte), c.options(2))
	if err != nil {
		return deed{}, err
	}
	if err := s.config.Backend.CheckRestore(context.Background(), id, o); err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"root": root.Name, "paths": strings.Join(o.Paths, " "), "to": o.To},
		do: s.streaming(func(ctx context.Context, caller Caller, stream *Stream) (uint64, error) {
			return s.config.Backend.Restore(ctx, caller, id, o, stream)
		}),
	}, c.noFlags(3)
}

func restoreOptions(paths [][]byte, t optionTable) (RestoreOptions, error) {
	var o RestoreOptions
	if len(paths) == 0 || len(paths) > maxPaths {
		return o, fmt.Errorf("restore %d paths: %w: name 1 to %d", len(paths), ErrInvalidArgs, maxPaths)
	}
	for _, b := range paths {
		p, err := pathArgument(b)
		if err != nil {
			return o, err
		}
		o.Paths = append(o.Paths, p)
	}
	if err := t.only("to", "dryRun"); err != nil {
		return o, err
	}
	to, err := option[[]byte](t, "to")
	if err != nil {
		return o, err
	}
	if to != nil {
		if o.To, err = pathArgument(*to); err != nil {
			return o, err
		}
	}
	dryRun, err := option[bool](t, "dryRun")
	o.DryRun = dryRun != nil && *dryRun
	return o, err
}

func planListVersions(s *Server, c *call) (deed, error) {
	path, err := pathArgument(c.args[0].([]byte))
	if err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"path": path},
		do: s.streaming(func(ctx context.Context, caller Caller, stream *Stream) (uint64, error) {
			return s.config.Backend.ListVersions(ctx, caller, path, stream)
		}),
	}, c.plain(1, 2)
}

func planBrowse(s *Server, c *call) (deed, error) {
	root := c.node.value.(*Root)
	return deed{
		details: map[string]string{"roots": root.Name},
		do: func(ctx context.Context, _ Caller) (body, error) {
			path, err := s.config.Backend.BrowseRoot(ctx, root.ID)
			return body{"ay", func(e *encoder) { e.bytestring(path) }}, err
		},
	}, c.plain(0, 1)
}

func planEndBrowse(s *Server, c *call) (deed, error) {
	root := c.node.value.(*Root)
	return deed{
		details: map[string]string{"roots": root.Name},
		do:      nothing(func(ctx context.Context) error { return s.config.Backend.EndBrowse(ctx, root.ID) }),
	}, c.plain(0, 1)
}
