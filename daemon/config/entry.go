package config

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// errRoot is what is wrong with "/" where something in the root is meant.
var errRoot = errors.New(`"/" is the root itself`)

// ofKernel tells whether a path is of a file system that the kernel makes: nothing in it is ever on a disk.
func ofKernel(p string) bool {
	return slices.ContainsFunc([]string{"/dev", "/proc", "/sys"}, func(dir string) bool { return persist.Within(p, dir) })
}

// entryPath checks and cleans the absolute path of an entry.
func entryPath(s string) (string, error) {
	p, err := absolute(s)
	switch {
	case err != nil:
		return "", err
	case p == "/":
		return "", errRoot
	case ofKernel(p):
		return "", fmt.Errorf("%s is of a file system that the kernel makes anew", p)
	}
	return p, nil
}

// entries reads the lists directories and files of a volume or of a user.
func (d *decoder) entries(s scope, p place) []persist.Entry {
	var all []persist.Entry
	for _, list := range []struct {
		key, name string
		kind      persist.Kind
	}{{"directories", "directory", persist.Directory}, {"files", "file", persist.File}} {
		key, items := s.path(list.key), s.list(list.key)
		all = slices.Grow(all, len(items))
		for _, item := range items {
			if e, ok := d.entry(key, list.name, item, p); ok {
				e.Kind = list.kind
				d.checkMethod(key, item, &e)
				all = append(all, e)
			}
		}
	}
	return all
}

// entry reads one entry: a path, or a table whose key name holds it.
func (d *decoder) entry(key, name string, v *value, p place) (persist.Entry, bool) {
	e := persist.Entry{Volume: p.volume, Home: p.user, Hide: p.hide, Trash: p.trash, Origin: Origin{File: v.at.file, Line: v.at.line}}
	if v.kind == stringKind {
		return e, d.place(key, v, p, &e)
	}
	if v.kind != tableKind {
		d.fail(v.at, key, fmt.Sprintf("write a path in quotes, or { %s = \"…\" }", name), "holds %s", v.kind)
		return e, false
	}
	known := []string{name, "user", "group", "mode", "parentDirectory", "method", "hideMount", "allowTrash", "mountOptions", "persistentStoragePath"}
	named := p.recorded && p.user == "" // what is added at run time is added by its path
	if named {
		known = append(known, "addedIn")
	}
	s, _ := d.table(key, v, known...)
	if named {
		d.addedIn(s, &e.AddedIn)
	}
	at, ok := s.find(name, stringKind, "write its path in quotes")
	if !ok {
		if v.get(name) == nil {
			d.fail(v.at, key, fmt.Sprintf("add %s = \"…\"", name), "has no %s", name)
		}
		return e, false
	}
	d.ownership(s, &e.User, &e.Group, &e.Mode)
	if f := v.get("parentDirectory"); f != nil {
		if parent, ok := d.table(s.path(f.key), f.value, "user", "group", "mode"); ok {
			d.ownership(parent, &e.Parent.User, &e.Parent.Group, &e.Parent.Mode)
		}
	}
	choice(s, "method", &e.Method, []string{"auto", "bind", "symlink", "copy"},
		[]persist.Method{persist.Auto, persist.Bind, persist.Symlink, persist.Copy})
	s.truth("hideMount", &e.Hide)
	s.truth("allowTrash", &e.Trash)
	parsed(s, "persistentStoragePath", "write an absolute path", &e.Volume, absolute)
	e.MountOptions = d.mountOptions(s)
	return e, d.place(s.path(name), at, p, &e)
}

func (d *decoder) ownership(s scope, user, group *string, mode *persist.Mode) {
	const hint = "write a name or a number in quotes"
	parsed(s, "user", hint, user, account)
	parsed(s, "group", hint, group, account)
	parsed(s, "mode", modeHint, mode, parseMode)
}

// account checks the form of a user's or group's name; whether it exists is known when the root is there.
func account(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, ":/\x00\n ") {
		return "", fmt.Errorf("%q is not a name", s)
	}
	return s, nil
}

// mountOptions reads the options of a bind mount.
func (d *decoder) mountOptions(s scope) []string {
	var options []string
	for _, item := range s.texts("mountOptions") {
		if !persist.ValidMountOption(item.text) {
			hint := "write one of " + quoted(persist.MountOptionNames()) + ", or one that begins with x-"
			if near := nearest(item.text, persist.MountOptionNames()); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			d.fail(item.at, s.path("mountOptions"), hint, "%q is not an option of a bind mount", item.text)
			continue
		}
		options = append(options, item.text)
	}
	return options
}

// place works out target and source of an entry.
func (d *decoder) place(key string, v *value, p place, e *persist.Entry) bool {
	if p.user != "" {
		rel, err := relative(v.text)
		if err != nil {
			d.fail(v.at, key, homeHint(v.text, p), "%v", err)
			return false
		}
		e.Target = path.Join(p.home, rel)
		e.BelowHome = rel
		if p.homeGiven {
			e.HomeDir = p.home
		}
	} else {
		target, err := entryPath(v.text)
		if err != nil {
			d.fail(v.at, key, absoluteHint(v.text), "%v", err)
			return false
		}
		e.Target = target
	}
	e.Source = path.Join(e.Volume, e.Target)
	return true
}

// homeHint says what to write for a path in a user's list that is not below the home.
func homeHint(s string, p place) string {
	if clean := path.Clean(s); persist.Below(clean, p.home) {
		return fmt.Sprintf("write it relative to the home: %q", clean[len(p.home)+1:])
	}
	return fmt.Sprintf("write a path relative to the home of %s; what is elsewhere goes into persistence.%q.directories or .files", p.user, p.volume)
}

// absoluteHint says what to write for a path that is not absolute.
func absoluteHint(s string) string {
	switch {
	case s == "" || path.Clean(s) == "/":
		return `write the path of what is to be kept, such as "/var/log"`
	case ofKernel(path.Clean(s)):
		return "remove it"
	case strings.HasPrefix(s, "~"):
		return `write what is in a home into users.<name>, relative to the home`
	case strings.Contains(s, ".."):
		return "write it without .."
	}
	return fmt.Sprintf("write %q, or, if it is in a home, put it into users.<name>", "/"+s)
}

// checkMethod refuses methods that don't fit.
func (d *decoder) checkMethod(key string, v *value, e *persist.Entry) {
	switch {
	case e.Kind == persist.Directory && e.Method == persist.Copy:
		d.fail(v.at, key, `write "bind" or "symlink"`, `%s: the method "copy" is for files`, e.Target)
	case e.Target == "/etc/machine-id" && e.Method == persist.Symlink:
		d.fail(v.at, key, `write "bind", or leave method out`, "systemd does not support %s as a symlink", e.Target)
	case len(e.MountOptions) > 0 && (e.Method == persist.Symlink || e.Method == persist.Copy):
		d.fail(v.at, key, `write method = "bind", or leave mountOptions out`, "%s: a %s has no mount options", e.Target, e.Method)
	}
}
