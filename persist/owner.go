package persist

import "path"

// privateDir must not be seen into: it holds the directories of services with dynamic users (systemd.exec(5)).
const privateDir = "/var/lib/private"

// sourceOwner is the owner of a source when it is made, and which parts of it were configured and so are kept.
type sourceOwner struct {
	Owner
	user, group, mode bool
}

// enforced gives an owner with the configured parts put right.
func (o sourceOwner) enforced(have Owner) Owner {
	if o.user {
		have.UID = o.UID
	}
	if o.group {
		have.GID = o.GID
	}
	if o.mode {
		have.Mode = o.Mode
	}
	return have
}

// sourceOwner works out an entry's owner: as configured, else the user in whose home it is, else root. On an error nothing
// is to be kept.
func (u Users) sourceOwner(e Entry) (sourceOwner, error) {
	o := sourceOwner{Owner: Owner{Mode: defaultMode(e)}}
	owner := e.User
	if owner == "" {
		owner = e.Home
	}
	if owner == "" {
		owner, _ = u.homeAround(e.Target)
	}
	if owner != "" {
		found, err := u.user(owner)
		if err != nil {
			return sourceOwner{}, err
		}
		o.UID, o.GID, o.user = found.uid, found.gid, e.User != ""
	}
	if e.Group != "" {
		gid, err := u.group(e.Group)
		if err != nil {
			return sourceOwner{}, err
		}
		o.GID, o.group = gid, true
	}
	if e.Mode.Given {
		o.Mode, o.mode = e.Mode.Bits, true
	}
	_, err := u.parentOf(e)
	return o, err
}

func defaultMode(e Entry) uint32 {
	switch {
	case e.Target == machineID:
		return 0o444
	case e.Target == privateDir:
		return 0o700
	case e.Kind == Directory:
		return 0o755
	}
	return 0o644
}

// parentOf works out the owner that was configured for the parent directory.
func (u Users) parentOf(e Entry) (sourceOwner, error) {
	var o sourceOwner
	if e.Parent.User != "" {
		found, err := u.user(e.Parent.User)
		if err != nil {
			return o, err
		}
		o.UID, o.GID, o.user, o.group = found.uid, found.gid, true, true
	}
	if e.Parent.Group != "" {
		gid, err := u.group(e.Parent.Group)
		if err != nil {
			return o, err
		}
		o.GID, o.group = gid, true
	}
	o.Mode, o.mode = e.Parent.Mode.Bits, e.Parent.Mode.Given
	return o, nil
}

// parentOwner works out the owner of a parent that must be made; dir is its path in the root.
func (u Users) parentOwner(e Entry, dir string, source Object) Owner {
	owner := Owner{Mode: 0o755}
	user, home := u.homeOf(e, dir)
	switch {
	case dir == privateDir:
		owner.Mode = 0o700
	case user != "":
		if found, err := u.user(user); err == nil {
			owner.UID, owner.GID = found.uid, found.gid
		} else if source.Kind != Absent { // the root has no users yet: who owns what is in the home owns the home
			owner.UID, owner.GID = source.Owner.UID, source.Owner.GID
		}
		if dir == home {
			owner.Mode = 0o700
		}
	}
	if configured, err := u.parentOf(e); err == nil && directlyIn(e.Target, dir) {
		owner = configured.enforced(owner)
	}
	return owner
}

// homeOf gives the user in whose home a directory is, or is it, and that home.
func (u Users) homeOf(e Entry, dir string) (user, home string) {
	if e.Home == "" {
		return u.homeAround(dir)
	}
	if home := u.homeDir(e); Within(dir, home) {
		return e.Home, home
	}
	return "", ""
}

// homeDir gives the home that an entry is in.
func (u Users) homeDir(e Entry) string {
	if e.HomeDir != "" {
		return e.HomeDir
	}
	return u.home(e.Home)
}

// directlyIn tells whether a path's parent is dir.
func directlyIn(p, dir string) bool {
	return Below(p, dir) && path.Dir(p) == dir
}
