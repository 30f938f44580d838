package dbus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The actions of polkit, in systemd-units/org.impermanence1.policy.
const (
	actionCreateSnapshot   = BusName + ".create-snapshot"
	actionManageRoots      = BusName + ".manage-roots"
	actionPrune            = BusName + ".prune"
	actionSetNextBoot      = BusName + ".set-next-boot"
	actionMountPersistence = BusName + ".mount-persistence"
	actionReload           = BusName + ".reload"
	actionCancelJob        = BusName + ".cancel-job"

	// otherUser makes of an action the one for things of other users.
	otherUser = "-other-user"
)

func managerMethods() []method {
	return []method{
		{"ListRoots", "a{sv}t", "a(ostt)", "", planListRoots},
		{"CreateSnapshot", "sa{sv}t", "o", actionCreateSnapshot, planCreateSnapshot},
		{"DeleteRoots", "aoa{sv}t", "o", actionManageRoots, planDeleteRoots},
		{"PlanPrune", "a{sv}t", "a(osa{sv})", "", planPlanPrune},
		{"Prune", "a{sv}t", "o", actionPrune, planPrune},
		{"SetNextBoot", "sa{sv}t", "", actionSetNextBoot, planSetNextBoot},
		{"ApplyPersistence", "aoa{sv}t", "o", actionMountPersistence, planApplyPersistence},
		{"AddPersistence", "aya{sv}t", "o", actionModifyPersistence, planAddPersistence},
		{"RemovePersistence", "aya{sv}t", "o", actionModifyPersistence, planRemovePersistence},
		{"ListLosses", "a{sv}t", "oay", actionReadLosses, planListLosses},
		{"CompareRoots", "ooa{sv}t", "oay", actionReadLosses, planCompareRoots},
		{"ListOrphans", "a{sv}t", "a(ayss)", actionReadLosses, planListOrphans},
		{"Restore", "oaaya{sv}t", "oay", actionRestore, planRestore},
		{"ListVersions", "aya{sv}t", "oay", actionReadLosses, planListVersions},
		{"Reload", "t", "", actionReload, planReload},
		{"Rescan", "t", "", actionReload, planRescan},
	}
}

func rootMethods() []method {
	return []method{
		{"SetPinned", "ba{sv}t", "", actionManageRoots, planSetPinned},
		{"SetLabel", "sa{sv}t", "", actionManageRoots, planSetLabel},
		{"Delete", "a{sv}t", "o", actionManageRoots, planDelete},
		{"Browse", "a{sv}t", "ay", actionBrowseRoots, planBrowse},
		{"EndBrowse", "a{sv}t", "", actionBrowseRoots, planEndBrowse},
	}
}

func jobMethods() []method {
	return []method{
		{"Cancel", "a{sv}t", "", actionCancelJob, planCancel},
		{"Wait", "t", "sss", "", planWait},
	}
}

// nothing makes a deed of something that has no result.
func nothing(do func(ctx context.Context) error) func(context.Context, Caller) (body, error) {
	return func(ctx context.Context, _ Caller) (body, error) { return body{}, do(ctx) }
}

// starting makes a deed of something that starts a job.
func starting(do func(context.Context, Caller) (uint64, error)) func(context.Context, Caller) (body, error) {
	return func(ctx context.Context, caller Caller) (body, error) {
		id, err := do(ctx, caller)
		if err != nil {
			return body{}, err
		}
		return body{"o", func(e *encoder) { e.path(JobPath(id)) }}, nil
	}
}

func planListRoots(s *Server, c *call) (deed, error) {
	filter, err := rootFilter(c.options(0))
	if err != nil {
		return deed{}, err
	}
	return deed{long: true, do: func(ctx context.Context, _ Caller) (body, error) {
		roots, err := s.config.Backend.Roots(ctx, filter)
		return body{"a(ostt)", func(e *encoder) { putRootList(e, roots) }}, err
	}}, c.noFlags(1)
}

func rootFilter(o optionTable) (RootFilter, error) {
	kind, err := option[string](o, "kind")
	if err != nil {
		return RootFilter{}, err
	}
	var f RootFilter
	if f.Pinned, err = option[bool](o, "pinned"); err != nil {
		return f, err
	}
	if kind != nil {
		f.Kind = *kind
	}
	if f.Kind != "" && f.Kind != "old" && f.Kind != "snapshot" {
		return f, fmt.Errorf("kind %q: %w: it is old or snapshot", f.Kind, ErrInvalidArgs)
	}
	return f, o.only("kind", "pinned")
}

func putRootList(e *encoder, roots []Root) {
	e.list(8, len(roots), func(i int) {
		r := &roots[i]
		e.align(8)
		e.path(RootPath(r.ID))
		e.string(r.Name)
		e.usec(r.RolledOver)
		e.uint64(uint64(r.flags()))
	})
}

func (r *Root) flags() RootFlags {
	return flagIf(RootSnapshot, r.Kind == "snapshot") |
		flagIf(RootReadOnly, r.ReadOnly) |
		flagIf(RootPinned, r.Pinned) |
		flagIf(RootProtected, len(r.ProtectReasons) > 0) |
		flagIf(RootDeleting, r.Deleting) |
		flagIf(RootDiscarded, r.Kind == "discarded")
}

func flagIf(flag RootFlags, set bool) RootFlags {
	if set {
		return flag
	}
	return 0
}

func planCreateSnapshot(s *Server, c *call) (deed, error) {
	label := c.text(0)
	if err := checkLabel(label); err != nil {
		return deed{}, err
	}
	return deed{
		details: map[string]string{"label": label},
		do: starting(func(ctx context.Context, caller Caller) (uint64, error) {
			return s.config.Backend.CreateSnapshot(ctx, caller, label)
		}),
	}, c.plain(1, 2)
}

func planDeleteRoots(s *Server, c *call) (deed, error) {
	paths := c.args[0].([]ObjectPath)
	if len(paths) == 0 {
		return deed{}, fmt.Errorf("delete roots: %w: none is named", ErrInvalidArgs)
	}
	ids := make([]uint64, len(paths))
	for i, p := range paths {
		id, err := ParseRootPath(p)
		if err != nil {
			return deed{}, err
		}
		ids[i] = id
	}
	d, err := s.deletion(ids)
	if err != nil {
		return d, err
	}
	return d, c.plain(1, 2)
}

func planDelete(s *Server, c *call) (deed, error) {
	d, err := s.deletion([]uint64{c.node.value.(*Root).ID})
	if err != nil {
		return d, err
	}
	return d, c.plain(0, 1)
}

// deletion refuses what is unknown or protected, as far as the bus shows it; the
// backend has the last word.
func (s *Server) deletion(ids []uint64) (deed, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		r, err := s.root(id)
		if err != nil {
			return deed{}, err
		}
		if len(r.ProtectReasons) > 0 {
			return deed{}, fmt.Errorf("root %d (%s): %w: %s", id, r.Name, ErrProtected, strings.Join(r.ProtectReasons, ", "))
		}
		names[i] = r.Name
	}
	return deed{
		details: map[string]string{"roots": strings.Join(names, " ")},
		do: starting(func(ctx context.Context, caller Caller) (uint64, error) {
			return s.config.Backend.DeleteRoots(ctx, caller, ids)
		}),
	}, nil
}

// root is what the bus shows of a root.
func (s *Server) root(id uint64) (*Root, error) {
	o, ok := s.publisher.tree().roots.lookup(RootPath(id))
	if !ok {
		return nil, fmt.Errorf("root %d: %w", id, ErrNoSuchRoot)
	}
	return o.value.(*Root), nil
}

func planPlanPrune(s *Server, c *call) (deed, error) {
	o, err := pruneOptions(c.options(0), policyKeys()...)
	if err != nil {
		return deed{}, err
	}
	return deed{long: true, do: func(ctx context.Context, _ Caller) (body, error) {
		items, err := s.config.Backend.PlanPrune(ctx, o)
		return body{"a(osa{sv})", func(e *encoder) { putPlan(e, items) }}, err
	}}, c.noFlags(1)
}

func putPlan(e *encoder, items []PlanItem) {
	e.list(8, len(items), func(i int) {
		item := &items[i]
		verdict := "keep"
		if item.Remove {
			verdict = "remove"
		}
		e.align(8)
		e.path(RootPath(item.Root))
		e.string(verdict)
		e.details(map[string]any{"name": item.Name, "reasons": item.Reasons})
	})
}

func planPrune(s *Server, c *call) (deed, error) {
	o, err := pruneOptions(c.options(0), append(policyKeys(), "wait")...)
	if err != nil {
		return deed{}, err
	}
	return deed{do: starting(func(ctx context.Context, caller Caller) (uint64, error) {
		return s.config.Backend.Prune(ctx, caller, o)
	})}, c.noFlags(1)
}

// policyKeys are the options that override the retention policy: the keys of the
// configuration, with the unit of the one that has a unit.
func policyKeys() []string {
	return []string{"keepWithinUSec", "keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly", "keepLabels", "minFreeBytes", "minFreePercent"}
}

func pruneOptions(t optionTable, known ...string) (PruneOptions, error) {
	var o PruneOptions
	if err := t.only(known...); err != nil {
		return o, err
	}
	within, err := option[uint64](t, "keepWithinUSec")
	if err != nil {
		return o, err
	}
	if within != nil {
		if *within > uint64((1<<63-1)/time.Microsecond) {
			return o, fmt.Errorf("option keepWithinUSec %d: %w: too long", *within, ErrInvalidArgs)
		}
		d := time.Duration(*within) * time.Microsecond
		o.KeepWithin = &d
	}
	for key, field := range o.counts() {
		if *field, err = option[uint32](t, key); err != nil {
			return o, err
		}
	}
	if labels, err := option[[]string](t, "keepLabels"); err != nil {
		return o, err
	} else if labels != nil {
		o.KeepLabels = *labels
	}
	if slices.Contains(o.KeepLabels, "") {
		return o, fmt.Errorf("option keepLabels: %w: an empty label, which no root has", ErrInvalidArgs)
	}
	if o.MinFree, err = minFree(t); err != nil {
		return o, err
	}
	wait, err := option[bool](t, "wait")
	o.Wait = wait != nil && *wait
	return o, err
}

// minFree reads the options that replace the configured minFree: either of them, or both.
func minFree(t optionTable) (*MinFree, error) {
	bytes, err := option[uint64](t, "minFreeBytes")
	if err != nil {
		return nil, err
	}
	percent, err := option[float64](t, "minFreePercent")
	if err != nil || bytes == nil && percent == nil {
		return nil, err
	}
	var m MinFree
	if bytes != nil {
		m.Bytes = *bytes
	}
	if percent != nil {
		m.Percent = *percent
	}
	if !(m.Percent >= 0 && m.Percent <= 100) {
		return nil, fmt.Errorf("option minFreePercent %v: %w: from 0 to 100", m.Percent, ErrInvalidArgs)
	}
	return &m, nil
}

// counts are the fields that are numbers, by the names of their options.
func (o *PruneOptions) counts() map[string]**uint32 {
	return map[string]**uint32{
		"keepLast": &o.KeepLast, "keepHourly": &o.KeepHourly, "keepDaily": &o.KeepDaily,
		"keepWeekly": &o.KeepWeekly, "keepMonthly": &o.KeepMonthly, "keepYearly": &o.KeepYearly,
	}
}

func planSetNextBoot(s *Server, c *call) (deed, error) {
	value := c.text(0)
	if value != "fresh" && value != "keep" {
		id, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return deed{}, fmt.Errorf("next boot %q: %w: it is fresh, keep, or the id of an old root", value, ErrInvalidArgs)
		}
		if _, err := s.root(id); err != nil {
			return deed{}, err
		}
	}
	return deed{
		details: map[string]string{"value": value},
		do:      nothing(func(ctx context.Context) error { return s.config.Backend.SetNextBoot(ctx, value) }),
	}, c.plain(1, 2)
}
