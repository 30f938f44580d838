package dbus

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

func planListLosses(s *Server, c *call) (deed, error) {
	filter, err := changeFilter(c.options(0), "paths", "sinceUSec", "ignored")
	if err != nil {
		return deed{}, err
	}
	return deed{do: s.streaming(func(ctx context.Context, caller Caller, out *Stream) (uint64, error) {
		return s.config.Backend.ListLosses(ctx, caller, filter, out)
	})}, c.noFlags(1)
}

func planCompareRoots(s *Server, c *call) (deed, error) {
	base, err := s.comparable(c.args[0].(ObjectPath))
	if err != nil {
		return deed{}, err
	}
	root, err := s.comparable(c.args[1].(ObjectPath))
	if err != nil {
		return deed{}, err
	}
	filter, err := changeFilter(c.options(2), "paths", "sinceUSec")
	if err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"roots": strconv.FormatUint(base, 10) + " " + strconv.FormatUint(root, 10)},
		do: s.streaming(func(ctx context.Context, caller Caller, out *Stream) (uint64, error) {
			return s.config.Backend.CompareRoots(ctx, caller, base, root, filter, out)
		}),
	}, c.noFlags(3)
}

// comparable reads a root that is there, or 0 for "/".
func (s *Server) comparable(p ObjectPath) (uint64, error) {
	if p == NoPath {
		return 0, nil
	}
	id, err := ParseRootPath(p)
	if err != nil {
		return 0, err
	}
	_, err = s.root(id)
	return id, err
}

func changeFilter(o optionTable, known ...string) (ChangeFilter, error) {
	var f ChangeFilter
	if err := o.only(known...); err != nil {
		return f, err
	}
	paths, err := option[[][]byte](o, "paths")
	if err != nil {
		return f, err
	}
	since, err := option[uint64](o, "sinceUSec")
	if err != nil {
		return f, err
	}
	ignored, err := option[bool](o, "ignored")
	if err != nil {
		return f, err
	}
	if since != nil {
		f.Since = fromUSec(*since)
	}
	f.Ignored = ignored != nil && *ignored
	if paths == nil {
		return f, nil
	}
	if len(*paths) > maxPaths {
		return f, fmt.Errorf("%d paths: %w: name at most %d, or a directory that they are in", len(*paths), ErrInvalidArgs, maxPaths)
	}
	for _, b := range *paths {
		p, err := pathArgument(b)
		if err != nil {
			return f, err
		}
		if p != "/" && (strings.HasSuffix(p, "/") || strings.Contains(p+"/", "/../") || strings.Contains(p+"/", "/./") || strings.Contains(p, "//")) {
			return f, fmt.Errorf("path %q: %w: it is not in its shortest form", p, ErrInvalidArgs)
		}
		f.Paths = append(f.Paths, p)
	}
	return f, nil
}
