package config

import (
	"path"

	"github.com/impermanence/impermanence/persist"
)

// knownItemKeys are those that an imported entry may have: those that are carried over, and those that the modules derive from
// others or that make no difference here.
var knownItemKeys = []string{
	"directory", "file", "user", "group", "mode", "parentDirectory", "hideMount", "allowTrash", "method", "mountOptions", "persistentStoragePath",
	"how", "configureParent", "parent", // preservation
	"dirPath", "filePath", "home", "defaultPerms", "enableDebugging", "enableWarnings", "inInitrd", // derived, or needless: early boot puts all in place that it can
}

// entry imports one item of a list.
func (c importContext) entry(item *value, kind persist.Kind) (persist.Entry, bool) {
	e := persist.Entry{Kind: kind, Volume: c.volume.Path, Hide: c.volume.HideMounts, Trash: c.volume.AllowTrash}
	at := item.text
	if item.kind == tableKind {
		if at = textOf(item, "directory"); kind == persist.File {
			at = textOf(item, "file")
		}
	}
	if !c.locate(&e, at) {
		return e, false
	}
	if item.kind != tableKind {
		return e, true
	}
	c.leaveOthers(e.Target, item, knownItemKeys...)
	if f := item.get("hideMount"); f != nil && f.value.kind == booleanKind {
		e.Hide = f.value.truth
	}
	if f := item.get("allowTrash"); f != nil && f.value.kind == booleanKind {
		e.Trash = f.value.truth
	}
	if at := textOf(item, "persistentStoragePath"); at != "" && path.Clean(at) != e.Volume {
		e.Volume = path.Clean(at)
	}
	e.Source = path.Join(e.Volume, e.Target)
	owner := c.ownership(e.Target, item, defaultMode(kind))
	e.User, e.Group, e.Mode = owner.User, owner.Group, owner.Mode
	for _, key := range []string{"parentDirectory", "parent"} {
		if f := item.get(key); f != nil && f.value.kind == tableKind && (key != "parent" || truthOf(item, "configureParent")) {
			e.Parent = c.ownership(e.Target, f.value, 0o755)
		}
	}
	c.method(&e, item)
	c.options(&e, item)
	return e, true
}

func defaultMode(kind persist.Kind) uint32 {
	if kind == persist.File {
		return 0o644
	}
	return 0o755
}

// locate works out where an entry belongs.
func (c importContext) locate(e *persist.Entry, at string) bool {
	if c.user == "" {
		target, err := entryPath(at)
		switch {
		case err != nil && path.IsAbs(at):
			c.leave("%s: %v", c.volume.Path, err)
			return false
		case err != nil:
			c.leave("%s: %q is not an absolute path (home-manager's lists belong into users.<name>)", c.volume.Path, at)
			return false
		}
		e.Target = target
	} else {
		for len(at) > 1 && at[0] == '/' { // the modules take /x for x
			at = at[1:]
		}
		below, err := relative(at)
		if err != nil {
			c.leave("users.%s: %q: %v", c.user, at, err)
			return false
		}
		e.Home, e.BelowHome, e.Target = c.user, below, path.Join(c.home, below)
		if c.homeGiven {
			e.HomeDir = c.home
		}
	}
	e.Source = path.Join(e.Volume, e.Target)
	return true
}

// ownership imports owner and mode as far as they are not the modules' defaults: those hold for what is made anew there, while
// here what is written is kept so.
func (c importContext) ownership(where string, v *value, usual uint32) persist.Ownership {
	o := persist.Ownership{User: textOf(v, "user"), Group: textOf(v, "group")}
	owner := c.user
	if owner == "" {
		owner = "root"
	}
	if o.User == owner {
		o.User = ""
	}
	if o.Group == owner || o.Group == "users" && c.user != "" || o.Group == "root" && c.user == "" {
		o.Group = ""
	}
	text := textOf(v, "mode")
	if text == "" || text == "-" {
		return o
	}
	mode, err := parseMode(text)
	switch {
	case err != nil:
		c.leave("%s: %v", where, err)
	case mode.Bits != usual:
		o.Mode = mode
	}
	return o
}

// method imports how an entry is put in its place.
func (c importContext) method(e *persist.Entry, item *value) {
	how := textOf(item, "how")
	if how == "" {
		how = textOf(item, "method")
	}
	switch how {
	case "", "auto", "_intermediate":
	case "bindmount", "bind", "bindfs":
		if c.preservation && e.Kind == persist.File {
			e.Method = persist.Bind
		}
	case "symlink":
		e.Method = persist.Symlink
		if e.Target == "/etc/machine-id" {
			e.Method = persist.Auto
			c.leave("/etc/machine-id: as a symlink, which systemd does not support; it is bound")
		}
	default:
		c.leave("%s: method %q", e.Target, how)
	}
}

// options imports mount options as far as a bind mount can have them.
func (c importContext) options(e *persist.Entry, item *value) {
	for _, o := range append(c.common[:len(c.common):len(c.common)], optionsOf(item, "mountOptions")...) {
		switch {
		case o == "bind", o == "defaults", o == "":
		case o == "x-gvfs-hide":
			e.Hide = true
		case o == "x-gvfs-trash":
			e.Trash = true
		case e.Method == persist.Symlink:
		case persist.ValidMountOption(o):
			e.MountOptions = append(e.MountOptions, o)
		default:
			c.leave("mount option %s", o)
		}
	}
}
