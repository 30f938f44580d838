package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/impermanence/impermanence/persist"
)

// Where presets are, below LoadOptions.Root; one of the same name in /etc replaces the vendor's.
var presetDirs = []string{"/etc/impermanence/presets", "/usr/lib/impermanence/presets"}

// errNoSuchPreset is returned by a presets function for a name that it does not know.
var errNoSuchPreset = errors.New("there is no such preset")

// presetFiles finds presets by name below a root.
type presetFiles string

// read gives a preset's file and text.
func (root presetFiles) read(name string) (string, []byte, error) {
	for _, dir := range presetDirs {
		file := filepath.Join(string(root), "/", dir, name+".toml")
		data, err := readFile(file)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, data, err
		}
	}
	return "", nil, errNoSuchPreset
}

// names lists the presets that there are.
func (root presetFiles) names() []string {
	var names []string
	for _, dir := range presetDirs {
		files, _ := filepath.Glob(filepath.Join(string(root), "/", dir, "*.toml"))
		for _, file := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".toml"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// presets reads the entries of the presets that a volume names. They only add: what is configured itself, or lies in what is,
// stays as configured.
func (d *decoder) presets(s scope, p place) {
	for _, item := range s.texts("presets") {
		key := s.path("presets")
		name := item.text
		if name == "" || strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
			d.fail(item.at, key, "write the name of a preset, such as \"machine-id\"", "%q is not the name of a preset", name)
			continue
		}
		if d.presetFiles == nil {
			d.fail(item.at, key, "read the configuration from its files", "presets can't be read here")
			continue
		}
		file, data, err := d.presetFiles.read(name)
		if err != nil {
			d.fail(item.at, key, d.presetHint(name), "%q: %v", name, err)
			continue
		}
		d.addWeak(p.volume, d.body(file, data, p))
	}
}

func (d *decoder) presetHint(name string) string {
	names := d.presetFiles.names()
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(names) == 0 {
		return "none are installed: they belong into " + presetDirs[1]
	}
	return "there are " + strings.Join(names, ", ")
}

// body reads a file that holds what stands in a [persistence."…"] table: directories, files and users.
func (d *decoder) body(file string, data []byte, p place) []persist.Entry {
	d.files = append(d.files, file)
	v, err := readTOML(file, data)
	var problems Errors
	if errors.As(err, &problems) {
		d.problems = append(d.problems, problems...)
		return nil
	}
	s, ok := d.table("", v, "directories", "files", "users")
	if !ok {
		return nil
	}
	entries := d.entries(s, p)
	if f := v.get("users"); f != nil {
		entries = append(entries, d.users("users", f.value, p)...)
	}
	return entries
}

// weakEntry is an entry of a preset or of a record, which gives way to what is configured.
type weakEntry struct {
	volume string // in whose table it stands
	entry  persist.Entry
}

func (d *decoder) addWeak(volume string, entries []persist.Entry) {
	for _, e := range entries {
		d.weak = append(d.weak, weakEntry{volume, e})
	}
}

// mergeWeak adds weak entries as far as nothing is or holds the same.
func (d *decoder) mergeWeak(volumes []persist.Volume) {
	if len(d.weak) == 0 {
		return
	}
	taken := map[string]bool{}
	for _, v := range volumes {
		for _, e := range v.Entries {
			taken[e.Target] = true
		}
	}
	d.adoptConfigured(volumes)
	outerFirst := func(a, b int) bool {
		return persist.ComparePaths(d.weak[a].entry.Target, d.weak[b].entry.Target) < 0
	}
	sort.SliceStable(d.weak, outerFirst)
	for _, w := range d.weak {
		for i := range volumes {
			if volumes[i].Path == w.volume && !covered(taken, w.entry.Target) {
				taken[w.entry.Target] = true
				volumes[i].Entries = append(volumes[i].Entries, w.entry)
			}
		}
	}
}

// adoptConfigured has what was recorded first and configured later still be taken from the root that it was added in.
func (d *decoder) adoptConfigured(volumes []persist.Volume) {
	for _, w := range d.weak {
		if w.entry.AddedIn == (persist.RootName{}) {
			continue
		}
		for _, v := range volumes {
			for i := range v.Entries {
				if e := &v.Entries[i]; e.Target == w.entry.Target && e.Source == w.entry.Source && e.Kind == w.entry.Kind {
					e.Adopt, e.AddedIn = true, w.entry.AddedIn
				}
			}
		}
	}
}

// covered tells whether a path, or a directory around it, is an entry already.
func covered(taken map[string]bool, p string) bool {
	for ; p != "/"; p = filepath.Dir(p) {
		if taken[p] {
			return true
		}
	}
	return false
}
