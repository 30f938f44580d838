package dbus

import (
	"context"
	"fmt"
	"strings"
)

const (
	actionModifyPersistence = BusName + ".modify-persistence"
	actionReadLosses        = BusName + ".read-losses"
)

// entryMethods are those of an entry's own object.
func entryMethods() []method {
	return []method{
		{"Mount", "a{sv}t", "o", actionMountPersistence, planMount},
		{"Unmount", "a{sv}t", "o", actionMountPersistence, planUnmount},
		{"Remove", "a{sv}t", "o", actionModifyPersistence, planRemove},
	}
}

func planAddPersistence(s *Server, c *call) (deed, error) {
	target, err := pathArgument(c.args[0].([]byte))
	if err != nil {
		return deed{}, err
	}
	change, err := addition(target, c.options(1))
	if err != nil {
		return deed{}, err
	}
	return s.entryChange(change, c.noFlags(2))
}

func planRemovePersistence(s *Server, c *call) (deed, error) {
	target, err := pathArgument(c.args[0].([]byte))
	if err != nil {
		return deed{}, err
	}
	return s.removal(target, c.options(1), c.noFlags(2))
}

func planRemove(s *Server, c *call) (deed, error) {
	return s.removal(c.node.value.(*Entry).Target, c.options(0), c.noFlags(1))
}

func planUnmount(s *Server, c *call) (deed, error) {
	return s.entryChange(EntryChange{Deed: UnmountEntry, Target: c.node.value.(*Entry).Target}, c.plain(0, 1))
}

func planMount(s *Server, c *call) (deed, error) {
	return s.application([]string{c.node.value.(*Entry).Target}), c.plain(0, 1)
}

// application puts entries in their places.
func (s *Server) application(targets []string) deed {
	return deed{
		details: map[string]string{"entries": strings.Join(targets, " "), "deed": "mount"},
		do: starting(func(ctx context.Context, caller Caller) (uint64, error) {
			return s.config.Backend.ApplyPersistence(ctx, caller, targets)
		}),
	}
}

func (s *Server) removal(target string, o optionTable, wrong error) (deed, error) {
	change := EntryChange{Deed: RemoveEntry, Target: target}
	if err := change.whenAndHow(o); err != nil {
		return deed{}, err
	}
	if err := o.only("when", "dryRun"); err != nil {
		return deed{}, err
	}
	return s.entryChange(change, wrong)
}

// entryChange makes a deed of a change that the backend finds possible; wrong is what
// else is wrong with the call.
func (s *Server) entryChange(change EntryChange, wrong error) (deed, error) {
	if wrong != nil {
		return deed{}, wrong
	}
	if err := s.config.Backend.CheckEntryChange(context.Background(), change); err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"entries": change.Target, "deed": string(change.Deed)},
		do: starting(func(ctx context.Context, caller Caller) (uint64, error) {
			return s.config.Backend.ChangeEntry(ctx, caller, change)
		}),
	}, nil
}

// addition reads the options of AddPersistence.
func addition(target string, o optionTable) (EntryChange, error) {
	change := EntryChange{Deed: AddEntry, Target: target}
	if err := o.only("volume", "kind", "method", "user", "group", "mode", "when", "dryRun"); err != nil {
		return change, err
	}
	for key, field := range map[string]*string{
		"volume": &change.Volume, "kind": &change.Kind, "method": &change.Method, "user": &change.User, "group": &change.Group,
	} {
		given, err := option[string](o, key)
		if err != nil {
			return change, err
		}
		if given != nil {
			*field = *given
		}
	}
	const permissions = 0o7777
	mode, err := option[uint32](o, "mode")
	if err != nil {
		return change, err
	}
	if change.Mode = mode; mode != nil && *mode > permissions {
		return change, fmt.Errorf("mode %#o: %w: more than permission bits", *mode, ErrInvalidArgs)
	}
	return change, change.whenAndHow(o)
}

// whenAndHow reads the options that all changes have.
func (c *EntryChange) whenAndHow(o optionTable) error {
	when, err := option[string](o, "when")
	if err != nil {
		return err
	}
	if when != nil && *when != "now" && *when != "next-boot" {
		return fmt.Errorf("when %q: %w: it is now or next-boot", *when, ErrInvalidArgs)
	}
	c.NextBoot = when != nil && *when == "next-boot"
	dryRun, err := option[bool](o, "dryRun")
	c.DryRun = dryRun != nil && *dryRun
	return err
}

// maxPathSize is PATH_MAX: no path that the kernel takes is longer.
const maxPathSize = 4096

// pathArgument reads a path, with or without the zero byte at its end.
func pathArgument(b []byte) (string, error) {
	p := strings.TrimSuffix(string(b), "\x00")
	switch {
	case len(p) > maxPathSize:
		return "", fmt.Errorf("path of %d bytes: %w: at most %d", len(p), ErrInvalidArgs, maxPathSize)
	case !strings.HasPrefix(p, "/"), strings.Contains(p, "\x00"):
		return "", fmt.Errorf("path %q: %w: it is not absolute", p, ErrInvalidArgs)
	}
	return p, nil
}

func planListOrphans(s *Server, c *call) (deed, error) {
	o := c.options(0)
	volume, err := option[string](o, "volume")
	if err == nil {
		err = o.only("volume")
	}
	if err != nil {
		return deed{}, err
	}
	if volume == nil {
		volume = new(string)
	}
	return deed{long: true, do: func(ctx context.Context, _ Caller) (body, error) {
		orphans, err := s.config.Backend.Orphans(ctx, *volume)
		if err == nil {
			err = fitsReply(orphans)
		}
		return body{"a(ayss)", func(e *encoder) { putOrphans(e, orphans) }}, err
	}}, c.noFlags(1)
}

// fitsReply refuses a list that is longer than a reply may be.
func fitsReply(orphans []Orphan) error {
	const largest, each = 16 << 20, 64
	size := 0
	for _, o := range orphans {
		size += each + len(o.Path) + len(o.Volume)
	}
	if size > largest {
		return fmt.Errorf("list orphans: %w: %d are more than a reply holds", ErrLimitsExceeded, len(orphans))
	}
	return nil
}

func putOrphans(e *encoder, orphans []Orphan) {
	e.array(8, func() {
		for _, o := range orphans {
			e.align(8)
			e.bytestring(o.Path)
			e.string(o.Kind)
			e.string(o.Volume)
		}
	})
}
