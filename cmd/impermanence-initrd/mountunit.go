package main

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/impermanence/impermanence/btrfsops"
)

// unitDirs are where systemd looks for units, the first that has one wins: systemd.unit(5).
var unitDirs = []string{
	"/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
	"/run/systemd/generator.late",
}

// readMountUnit reads what a unit and its drop-ins say of a mount; found is false without a unit. A masked one tells nothing:
// something else does the mount.
func readMountUnit(dirs []string, name string) (mount btrfsops.RootMount, found bool) {
	unit := findUnit(dirs, name)
	if unit == "" {
		return mount, false
	}
	data, err := os.ReadFile(unit)
	if err != nil || len(data) == 0 {
		return mount, true
	}
	mount.From = unit
	addMountUnit(&mount, unit, string(data))
	for _, file := range dropIns(dirs, name) {
		if data, err := os.ReadFile(file); err == nil {
			addMountUnit(&mount, file, string(data))
		}
	}
	return mount, true
}

// findUnit returns the file of a unit, "" when there is none.
func findUnit(dirs []string, name string) string {
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// dropIns returns the drop-ins of a unit in the order in which systemd reads them: by their names, and of one name that of
// the first directory, those for this unit before those for all of its type.
func dropIns(dirs []string, name string) []string {
	files := map[string]string{} // by name
	for _, of := range []string{name, strings.TrimPrefix(filepath.Ext(name), ".")} {
		for _, dir := range dirs {
			dir = filepath.Join(dir, of+".d")
			entries, _ := os.ReadDir(dir)
			for _, entry := range entries {
				if filepath.Ext(entry.Name()) == ".conf" {
					files[entry.Name()] = cmp.Or(files[entry.Name()], filepath.Join(dir, entry.Name()))
				}
			}
		}
	}
	var sorted []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sorted = append(sorted, files[name])
	}
	return sorted
}

// addMountUnit adds what a file of a unit says. The last that says something counts.
func addMountUnit(mount *btrfsops.RootMount, file, text string) {
	section := ""
	for _, line := range unitLines(text) {
		if strings.HasPrefix(line, "[") {
			section = line
		}
		key, value, found := strings.Cut(line, "=")
		if !found || section != "[Mount]" {
			continue
		}
		value = strings.ReplaceAll(strings.TrimSpace(value), "%%", "%") // systemd's specifiers
		switch strings.TrimSpace(key) {
		case "What":
			mount.Device = value
		case "Options":
			mount.Options, mount.From = value, file
		}
	}
}

// unitLines splits the text of a unit into lines without comments: systemd.syntax(7). One that ends with a backslash goes on.
func unitLines(text string) []string {
	var lines []string
	begun := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		rest := strings.TrimRight(line, `\`)
		if (len(line)-len(rest))%2 == 1 {
			begun += line[:len(line)-1] + " "
			continue
		}
		lines = append(lines, begun+line)
		begun = ""
	}
	return append(lines, begun)
}
