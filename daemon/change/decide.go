package change

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/persist"
)

// Decide finds the entry that a request is about: a new one, one of the configuration with what is recorded, or one to remove
// that neither has any more and that is still in its place. A new entry's kind may still be open: then known is false.
func Decide(c *config.Config, root string, r Request) (e persist.Entry, known bool, err error) {
	if !path.IsAbs(r.Target) || path.Clean(r.Target) != r.Target || r.Target == "/" || strings.Contains(r.Target, "\x00") {
		return e, false, fmt.Errorf("%q: %w: write an absolute path below /", r.Target, ErrInvalid)
	}
	switch r.Deed {
	case Add:
		return newEntry(c, r)
	case Remove:
		e, err = toRemove(c, root, r)
		return e, err == nil, err
	case Unmount:
		e, err = declared(c, r.Target)
		return e, err == nil, err
	}
	return e, false, fmt.Errorf("deed %q: %w", r.Deed, ErrInvalid)
}

// declared finds an entry by its target.
func declared(c *config.Config, target string) (persist.Entry, error) {
	all := c.Entries()
	if i := slices.IndexFunc(all, func(e persist.Entry) bool { return e.Target == target }); i >= 0 {
		return all[i], nil
	}
	return persist.Entry{}, fmt.Errorf("%s: %w", target, ErrNoSuchEntry)
}

// toRemove finds an entry that the record has, or nobody any more: one that a file of the configuration has would be back at
// the next boot.
func toRemove(c *config.Config, root string, r Request) (persist.Entry, error) {
	e, err := declared(c, r.Target)
	if err != nil {
		for _, v := range c.Volumes {
			if left, is := persist.LeftBehind(c.In(root), v.Path, r.Target); is {
				return left, nil
			}
		}
		return e, err
	}
	if !recorded(config.Recorded(root, c), e) {
		return e, fmt.Errorf("%s: %w: %s", e.Target, ErrConfigured, e.Origin)
	}
	return e, nil
}

// recorded tells whether an entry is one of those that are recorded.
func recorded(all []persist.Entry, e persist.Entry) bool {
	return slices.ContainsFunc(all, func(o persist.Entry) bool { return o.Target == e.Target })
}

// newEntry makes an entry of a request.
func newEntry(c *config.Config, r Request) (persist.Entry, bool, error) {
	v, err := volumeOf(c, r.Volume)
	if err != nil {
		return persist.Entry{}, false, err
	}
	e := persist.Entry{
		Target: r.Target, Source: path.Join(v.Path, r.Target), Volume: v.Path, User: r.User, Group: r.Group,
		Method: r.Method, Hide: v.HideMounts, Trash: v.AllowTrash, Adopt: true,
	}
	if r.Mode != nil {
		e.Mode = persist.Mode{Bits: *r.Mode, Given: true}
	}
	known := r.Kind != ""
	if known {
		if err := e.Kind.UnmarshalText([]byte(r.Kind)); err != nil {
			return e, false, fmt.Errorf("kind: %w: %w", ErrInvalid, err)
		}
	}
	if !utf8.ValidString(e.Target) {
		return e, false, fmt.Errorf("%q: %w: it is not UTF-8, which the record on the volume is", e.Target, ErrInvalid)
	}
	return e, known, fits(c, e)
}

// volumeOf finds a volume by its path, or the only one.
func volumeOf(c *config.Config, p string) (persist.Volume, error) {
	names := make([]string, len(c.Volumes))
	for i, v := range c.Volumes {
		if names[i] = v.Path; v.Path == p {
			return v, nil
		}
	}
	switch {
	case len(names) == 0:
		return persist.Volume{}, fmt.Errorf("%w: no persistent volume is configured", ErrInvalid)
	case p != "":
		return persist.Volume{}, fmt.Errorf("%q: %w: it is no persistent volume; there are %s", p, ErrInvalid, strings.Join(names, ", "))
	case len(names) > 1:
		return persist.Volume{}, fmt.Errorf("%w: say on which volume: %s", ErrInvalid, strings.Join(names, ", "))
	}
	return c.Volumes[0], nil
}

// fits tells why an entry can't stand beside those that there are.
func fits(c *config.Config, e persist.Entry) error {
	for _, o := range c.Entries() {
		switch {
		case o.Target == e.Target:
			return fmt.Errorf("%s: %w: it is an entry already, from %s", e.Target, ErrInvalid, o.Origin)
		case persist.Below(e.Target, o.Target):
			return fmt.Errorf("%s: %w: it is kept already as a part of %s", e.Target, ErrInvalid, o.Target)
		case persist.Below(o.Target, e.Target):
			return fmt.Errorf("%s: %w: the entry %s is inside it", e.Target, ErrInvalid, o.Target)
		}
	}
	for _, v := range c.Volumes {
		if persist.Within(e.Target, v.Path) || persist.Below(v.Path, e.Target) {
			return fmt.Errorf("%s: %w: it and the volume %s lie in one another", e.Target, ErrInvalid, v.Path)
		}
	}
	for _, m := range c.Ephemeral {
		if e.Target == m.MountPoint {
			return fmt.Errorf("%s: %w: it is an ephemeral mount point, fresh at every boot", e.Target, ErrInvalid)
		}
	}
	return nil
}
