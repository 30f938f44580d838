package config

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// Import reads the evaluated configuration (nix eval --json) of nix-community/impermanence, of its home-manager part or of
// preservation, and writes the same as TOML. What can't be carried over is named: each item is one line for people.
//
// The value of environment.persistence, home.persistence or preservation may stand alone or in the attributes around it.
// Owners and modes that are those modules' defaults are left out, since here what is written is kept so at every boot.
func Import(data []byte) (toml []byte, notCarried []string, err error) {
	tree, err := readJSON("import.json", data)
	if err != nil {
		return nil, nil, err
	}
	i := importer{seen: map[string]bool{}}
	i.find(tree)
	if len(i.volumes) == 0 {
		return nil, nil, Errors{{
			File: "import.json", Line: 1, Message: "holds no persistence",
			Hint: "give it the value of environment.persistence, home.persistence or preservation as JSON",
		}}
	}
	var out bytes.Buffer
	for _, v := range i.volumes {
		sort.SliceStable(v.Entries, func(a, b int) bool { return v.Entries[a].Target < v.Entries[b].Target })
		text, err := FormatEntries(v, v.Entries)
		if err != nil {
			return nil, nil, err
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "[persistence.%s]\n", tomlString(v.Path))
		for _, flag := range []struct {
			key string
			set bool
		}{{"hideMounts", v.HideMounts}, {"allowTrash", v.AllowTrash}} {
			if flag.set {
				fmt.Fprintf(&out, "%s = true\n", flag.key)
			}
		}
		out.Write(text)
	}
	if _, err := ParseBytes("imported.toml", out.Bytes()); err != nil {
		return out.Bytes(), i.notCarried, fmt.Errorf("what was imported needs changes: %w", err)
	}
	return out.Bytes(), i.notCarried, nil
}

// importer collects volumes and what it can't carry over.
type importer struct {
	volumes    []persist.Volume
	notCarried []string
	seen       map[string]bool // what was named already
}

// leave names something that is not carried over, once.
func (i *importer) leave(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !i.seen[text] {
		i.seen[text] = true
		i.notCarried = append(i.notCarried, text)
	}
}

// find looks for the modules' values.
func (i *importer) find(tree *value) {
	for _, f := range tree.fields {
		switch {
		case f.value.kind != tableKind:
			continue
		case f.key == "home" && f.value.get("persistence") != nil:
			i.homeManager(f.value)
		case f.key == "preserveAt":
			i.eachVolume(f.value, true)
		case path.IsAbs(f.key):
			i.volume(f.key, f.value, false)
		default: // environment, persistence, home, preservation, …
			i.find(f.value)
		}
	}
}

func (i *importer) eachVolume(v *value, preservation bool) {
	for _, f := range v.fields {
		if f.value.kind == tableKind {
			i.volume(f.key, f.value, preservation)
		}
	}
}

// homeManager imports home.persistence: of one user, whose name stands beside it or in the path where things are kept.
func (i *importer) homeManager(home *value) {
	persistence := home.get("persistence").value
	if persistence.kind != tableKind {
		return
	}
	for _, f := range persistence.fields {
		if f.value.kind != tableKind {
			continue
		}
		volume, user := path.Clean(f.key), textOf(home, "username")
		if at, name := path.Split(volume); path.Base(path.Dir(volume)) == "home" && (user == "" || user == name) {
			volume, user = path.Dir(path.Clean(at)), name // the module wants the home's path within the volume spelled out
		}
		if user == "" {
			i.leave("%s: nothing says whose home it is for: import home.username with it", volume)
			continue
		}
		lists := newTable(f.at)
		users := newTable(f.at)
		users.set(user, f.at, f.value)
		lists.set("users", f.at, users)
		if at := home.get("homeDirectory"); at != nil {
			f.value.set("home", at.at, at.value)
		}
		i.volume(volume, lists, false)
	}
}

// volume imports one persistent volume.
func (i *importer) volume(name string, v *value, preservation bool) {
	vol := persist.Volume{Path: path.Clean(name)}
	if at := textOf(v, "persistentStoragePath"); at != "" {
		vol.Path = path.Clean(at)
	}
	if f := v.get("enable"); f != nil && f.value.kind == booleanKind && !f.value.truth {
		i.leave("%s: it is not enabled", vol.Path)
		return
	}
	vol.HideMounts, vol.AllowTrash = truthOf(v, "hideMounts"), truthOf(v, "allowTrash")
	c := importContext{importer: i, volume: &vol, preservation: preservation, common: optionsOf(v, "commonMountOptions")}
	c.leaveOthers(vol.Path, v, "enable", "persistentStoragePath", "hideMounts", "allowTrash", "directories", "files", "users", "commonMountOptions", "enableWarnings", "enableDebugging")
	c.lists(v)
	if users := v.get("users"); users != nil && users.value.kind == tableKind {
		for _, u := range users.value.fields {
			if u.value.kind == tableKind {
				c.inUser(u.key, u.value)
			}
		}
	}
	for n := range i.volumes {
		if have := &i.volumes[n]; have.Path == vol.Path { // the system's part and that of home-manager
			have.Entries = append(have.Entries, vol.Entries...)
			return
		}
	}
	i.volumes = append(i.volumes, vol)
}

// importContext is the list that is being imported.
type importContext struct {
	*importer
	volume       *persist.Volume
	preservation bool
	common       []string // mount options for all
	user, home   string   // of a user's list
	homeGiven    bool
}

// inUser imports a user's lists.
func (c importContext) inUser(name string, v *value) {
	c.user, c.home = name, usualHome(name)
	if at := textOf(v, "username"); at != "" {
		c.user, c.home = at, usualHome(at)
	}
	if at := textOf(v, "home"); path.IsAbs(at) && path.Clean(at) != c.home {
		c.home, c.homeGiven = path.Clean(at), true
	}
	c.common = append(c.common[:len(c.common):len(c.common)], optionsOf(v, "commonMountOptions")...)
	if f := v.get("enable"); f != nil && !f.value.truth {
		c.leave("users.%s: it is not enabled", name)
		return
	}
	c.leaveOthers("users."+name, v, "enable", "home", "username", "directories", "files", "commonMountOptions")
	c.lists(v)
}

// lists imports directories and files.
func (c importContext) lists(v *value) {
	for _, list := range []struct {
		key  string
		kind persist.Kind
	}{{"directories", persist.Directory}, {"files", persist.File}} {
		f := v.get(list.key)
		if f == nil || f.value.kind != arrayKind {
			continue
		}
		for _, item := range f.value.items {
			if e, ok := c.entry(item, list.kind); ok {
				c.volume.Entries = append(c.volume.Entries, e)
			}
		}
	}
}

// leaveOthers names keys that are set and not known.
func (c importContext) leaveOthers(where string, v *value, known ...string) {
	for _, f := range v.fields {
		if !slices.Contains(known, f.key) && !unset(f.value) {
			c.leave("%s: %s", where, f.key)
		}
	}
}

// unset tells whether a value says nothing.
func unset(v *value) bool {
	switch v.kind {
	case tableKind:
		return len(v.fields) == 0
	case arrayKind:
		return len(v.items) == 0
	case stringKind:
		return v.text == ""
	case booleanKind:
		return !v.truth
	case integerKind, otherKind:
	}
	return false
}

func textOf(v *value, key string) string {
	if f := v.get(key); f != nil && f.value.kind == stringKind {
		return strings.TrimSpace(f.value.text)
	}
	return ""
}

func truthOf(v *value, key string) bool {
	f := v.get(key)
	return f != nil && f.value.kind == booleanKind && f.value.truth
}

// optionsOf reads mount options: strings, or preservation's { name, value }.
func optionsOf(v *value, key string) []string {
	f := v.get(key)
	if f == nil || f.value.kind != arrayKind {
		return nil
	}
	var options []string
	for _, item := range f.value.items {
		switch {
		case item.kind == stringKind:
			options = append(options, item.text)
		case item.kind == tableKind && textOf(item, "value") != "":
			options = append(options, textOf(item, "name")+"="+textOf(item, "value"))
		case item.kind == tableKind:
			options = append(options, textOf(item, "name"))
		}
	}
	return options
}
