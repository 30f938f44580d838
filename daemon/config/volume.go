package config

import (
	"path"
	"sort"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// place is what the entries of one list have in common.
type place struct {
	volume      string // path of the persistent volume
	hide, trash bool
	user, home  string // of a user's list; empty otherwise
	homeGiven   bool   // the configuration says where the home is
	recorded    bool   // on the volume, of entries that were added at run time
}

func (d *decoder) volumes(key string, v *value) []persist.Volume {
	s, ok := d.table(key, v)
	if !ok {
		return nil
	}
	var all []persist.Volume
	for _, f := range v.fields {
		volume, err := absolute(f.key)
		if err == nil && volume == "/" {
			err = errRoot
		}
		if err != nil {
			d.fail(f.at, s.path(f.key), `write where the volume is mounted, such as [persistence."/persist"]`, "%v", err)
			continue
		}
		if parsed, enabled := d.volume(s.path(f.key), volume, f.value); enabled {
			all = append(all, parsed)
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].Path < all[b].Path })
	return all
}

// volume reads a persistent volume. One that is not enabled is read all the same, so that its problems show.
func (d *decoder) volume(key, name string, v *value) (persist.Volume, bool) {
	vol := persist.Volume{Path: name}
	enabled := true
	s, ok := d.table(key, v, "enable", "persistentStoragePath", "hideMounts", "allowTrash", "presets", "directories", "files", "users")
	if !ok {
		return vol, false
	}
	s.truth("enable", &enabled)
	s.truth("hideMounts", &vol.HideMounts)
	s.truth("allowTrash", &vol.AllowTrash)
	parsed(s, "persistentStoragePath", "write an absolute path", &vol.Path, absolute)
	p := place{volume: vol.Path, hide: vol.HideMounts, trash: vol.AllowTrash}
	vol.Entries = d.entries(s, p)
	d.presets(s, p)
	if f := v.get("users"); f != nil {
		vol.Entries = append(vol.Entries, d.users(s.path("users"), f.value, p)...)
	}
	return vol, enabled
}

func (d *decoder) users(key string, v *value, p place) []persist.Entry {
	s, ok := d.table(key, v)
	if !ok {
		return nil
	}
	var entries []persist.Entry
	for _, f := range v.fields {
		user, ok := d.table(s.path(f.key), f.value, "home", "directories", "files")
		if !ok {
			continue
		}
		if f.key == "" || strings.ContainsAny(f.key, "/:\x00\n") {
			d.fail(f.at, s.path(f.key), "write the user's name", "%q is not the name of a user", f.key)
			continue
		}
		p.user, p.home = f.key, usualHome(f.key)
		parsed(user, "home", "write an absolute path, such as "+p.home, &p.home, absolute)
		p.homeGiven = f.value.get("home") != nil
		entries = append(entries, d.entries(user, p)...)
	}
	return entries
}

// usualHome is where a user's home is, unless the passwd file of the root being booted says otherwise.
func usualHome(user string) string {
	if user == "root" {
		return "/root"
	}
	return path.Join("/home", user)
}
