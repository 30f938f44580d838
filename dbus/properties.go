package dbus

func managerProperties() []property {
	return []property{
		prop("Version", "s", emitsConst, func(e *encoder, m *Manager) { e.string(m.Version) }),
		prop("Filesystem", "s", emitsValue, func(e *encoder, m *Manager) { e.string(m.Filesystem) }),
		prop("BootedRoot", "o", emitsValue, func(e *encoder, m *Manager) { e.path(RootPath(m.BootedRoot)) }),
		prop("NextBoot", "s", emitsValue, func(e *encoder, m *Manager) { e.string(m.NextBoot) }),
		prop("LastRollover", "a{sv}", emitsValue, func(e *encoder, m *Manager) { e.details(m.LastRollover) }),
		prop("LastPruneUSec", "t", emitsValue, func(e *encoder, m *Manager) { e.usec(m.LastPrune) }),
		prop("ActiveJobs", "ao", emitsValue, func(e *encoder, m *Manager) { e.paths(jobPaths(m.ActiveJobs)) }),
		prop("ConfigurationErrors", "as", emitsValue, func(e *encoder, m *Manager) { e.strings(m.ConfigurationErrors) }),
		prop("ReloadNeeded", "b", emitsValue, func(e *encoder, m *Manager) { e.bool(m.ReloadNeeded) }),
		prop("Losses", "a{sv}", emitsValue, func(e *encoder, m *Manager) { e.details(m.Losses.details()) }),
	}
}

// details are empty when nothing is known.
func (l Losses) details() map[string]any {
	if l.Looked.IsZero() {
		return nil
	}
	return map[string]any{"count": l.Count, "bytes": l.Bytes, "usec": toUSec(l.Looked)}
}

func jobPaths(ids []uint64) []ObjectPath {
	paths := make([]ObjectPath, len(ids))
	for i, id := range ids {
		paths[i] = JobPath(id)
	}
	return paths
}

func rootProperties() []property {
	return []property{
		prop("Name", "s", emitsValue, func(e *encoder, r *Root) { e.string(r.Name) }),
		prop("Kind", "s", emitsValue, func(e *encoder, r *Root) { e.string(r.Kind) }),
		prop("Label", "s", emitsValue, func(e *encoder, r *Root) { e.string(r.Label) }),
		prop("UUID", "s", emitsValue, func(e *encoder, r *Root) { e.string(r.UUID) }),
		prop("SubvolumeId", "t", emitsConst, func(e *encoder, r *Root) { e.uint64(r.ID) }),
		prop("Path", "ay", emitsValue, func(e *encoder, r *Root) { e.bytestring(r.Path) }),
		prop("CreatedUSec", "t", emitsValue, func(e *encoder, r *Root) { e.usec(r.Created) }),
		prop("RolledOverUSec", "t", emitsValue, func(e *encoder, r *Root) { e.usec(r.RolledOver) }),
		prop("BootId", "s", emitsValue, func(e *encoder, r *Root) { e.string(r.BootID) }),
		prop("ReadOnly", "b", emitsValue, func(e *encoder, r *Root) { e.bool(r.ReadOnly) }),
		prop("Pinned", "b", emitsValue, func(e *encoder, r *Root) { e.bool(r.Pinned) }),
		prop("Deleting", "b", emitsValue, func(e *encoder, r *Root) { e.bool(r.Deleting) }),
		prop("HeldRoot", "ay", emitsValue, func(e *encoder, r *Root) { e.bytestring(r.HeldRoot) }),
		prop("ProtectReasons", "as", emitsValue, func(e *encoder, r *Root) { e.strings(r.ProtectReasons) }),
		prop("ExclusiveBytes", "t", emitsInvalidates, func(e *encoder, r *Root) { e.uint64(r.Size) }),
	}
}

func entryProperties() []property {
	return []property{
		prop("Target", "ay", emitsConst, func(e *encoder, n *Entry) { e.bytestring(n.Target) }),
		prop("Source", "ay", emitsValue, func(e *encoder, n *Entry) { e.bytestring(n.Source) }),
		prop("Kind", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.Kind) }),
		prop("Method", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.Method) }),
		prop("User", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.User) }),
		prop("Group", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.Group) }),
		prop("Mode", "u", emitsValue, func(e *encoder, n *Entry) { e.uint32(n.Mode) }),
		prop("State", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.State) }),
		prop("LastError", "(ss)", emitsValue, func(e *encoder, n *Entry) { e.errorInfo(n.LastError) }),
		prop("Origin", "s", emitsValue, func(e *encoder, n *Entry) { e.string(n.Origin) }),
	}
}

func jobProperties() []property {
	return []property{
		prop("Operation", "s", emitsConst, func(e *encoder, j *Job) { e.string(j.Operation) }),
		prop("Objects", "ao", emitsValue, func(e *encoder, j *Job) { e.paths(j.Objects) }),
		prop("StartedByUID", "u", emitsConst, func(e *encoder, j *Job) { e.uint32(j.StartedByUID) }),
		prop("StartUSec", "t", emitsConst, func(e *encoder, j *Job) { e.usec(j.Started) }),
		prop("State", "s", emitsValue, func(e *encoder, j *Job) { e.string(string(j.State)) }),
		prop("Progress", "d", emitsValue, func(e *encoder, j *Job) { e.float64(j.Progress) }),
		prop("ProgressValid", "b", emitsValue, func(e *encoder, j *Job) { e.bool(j.ProgressValid) }),
		prop("Stage", "s", emitsValue, func(e *encoder, j *Job) { e.string(j.Stage) }),
		prop("ItemsDone", "t", emitsValue, func(e *encoder, j *Job) { e.uint64(j.ItemsDone) }),
		prop("ItemsTotal", "t", emitsValue, func(e *encoder, j *Job) { e.uint64(j.ItemsTotal) }),
		prop("Cancelable", "b", emitsValue, func(e *encoder, j *Job) { e.bool(j.Cancelable) }),
		prop("Result", "s", emitsValue, func(e *encoder, j *Job) { e.string(string(j.Result)) }),
		prop("Error", "(ss)", emitsValue, func(e *encoder, j *Job) { e.errorInfo(j.Error) }),
		prop("Details", "a{sv}", emitsValue, func(e *encoder, j *Job) { e.details(j.Details) }),
	}
}
