package config

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/impermanence/impermanence/persist"
)

// FormatEntries writes entries as they stand in the table of their volume: what reading that gives is the same again. A path
// that is not UTF-8 can't be written in TOML.
func FormatEntries(volume persist.Volume, entries []persist.Entry) ([]byte, error) {
	var b strings.Builder
	lists := map[string][]string{} // key -> items
	for _, e := range entries {
		for _, s := range append([]string{e.Target, e.Volume, e.User, e.Group, e.Parent.User, e.Parent.Group, e.Home}, e.MountOptions...) {
			if !utf8.ValidString(s) {
				return nil, fmt.Errorf("%q is not UTF-8, which TOML is", s)
			}
		}
		prefix := ""
		if e.Home != "" && e.BelowHome != "" {
			prefix = "users." + tomlKey(e.Home) + "."
			if e.HomeDir != "" {
				lists[prefix+"home"] = []string{tomlString(e.HomeDir)}
			}
		}
		key, item := formatEntry(volume, e)
		lists[prefix+key] = append(lists[prefix+key], item)
	}
	keys := make([]string, 0, len(lists))
	for key := range lists {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		if strings.HasSuffix(key, ".home") {
			fmt.Fprintf(&b, "%s = %s\n", key, lists[key][0])
			continue
		}
		fmt.Fprintf(&b, "%s = [\n", key)
		for _, item := range lists[key] {
			fmt.Fprintf(&b, "  %s,\n", item)
		}
		b.WriteString("]\n")
	}
	return []byte(b.String()), nil
}

// formatEntry gives the list that an entry belongs into, and its item there.
func formatEntry(volume persist.Volume, e persist.Entry) (list, item string) {
	list, name := "directories", "directory"
	if e.Kind == persist.File {
		list, name = "files", "file"
	}
	at := e.Target
	if e.Home != "" && e.BelowHome != "" {
		at = e.BelowHome
	}
	fields := append([]string{name + " = " + tomlString(at)}, formatOwner(persist.Ownership{User: e.User, Group: e.Group, Mode: e.Mode})...)
	if parent := formatOwner(e.Parent); len(parent) > 0 {
		fields = append(fields, "parentDirectory = { "+strings.Join(parent, ", ")+" }")
	}
	fields = append(fields, formatMount(volume, e)...)
	fields = append(fields, formatAddedIn(e.AddedIn)...)
	if len(fields) == 1 {
		return list, tomlString(at)
	}
	return list, "{ " + strings.Join(fields, ", ") + " }"
}

// formatOwner gives what was configured of owner and mode.
func formatOwner(o persist.Ownership) []string {
	var fields []string
	for _, f := range [][2]string{{"user", o.User}, {"group", o.Group}, {"mode", o.Mode.String()}} {
		if f[1] != "" {
			fields = append(fields, f[0]+" = "+tomlString(f[1]))
		}
	}
	return fields
}

// formatMount gives how the entry is put in its place, as far as it differs from its volume's.
func formatMount(volume persist.Volume, e persist.Entry) []string {
	var fields []string
	add := func(key, value string) { fields = append(fields, key+" = "+value) }
	if e.Method != persist.Auto {
		add("method", tomlString(e.Method.String()))
	}
	if e.Hide != volume.HideMounts {
		add("hideMount", fmt.Sprint(e.Hide))
	}
	if e.Trash != volume.AllowTrash {
		add("allowTrash", fmt.Sprint(e.Trash))
	}
	if e.Volume != volume.Path {
		add("persistentStoragePath", tomlString(e.Volume))
	}
	if len(e.MountOptions) > 0 {
		options := make([]string, len(e.MountOptions))
		for i, o := range e.MountOptions {
			options[i] = tomlString(o)
		}
		add("mountOptions", "["+strings.Join(options, ", ")+"]")
	}
	return fields
}

// tomlKey writes one part of a key.
func tomlKey(s string) string {
	if bareKey(s) {
		return s
	}
	return tomlString(s)
}

// tomlString writes a basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
