package machine

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Packages are what a package database says is installed: version by name, with the architecture where names repeat.
type Packages struct {
	Manager  string // "dpkg", "pacman", "rpm"; "" for none that is known
	Database string // where it is, as the machine sees it
	Versions map[string]string
}

// database is where a package manager keeps what is installed.
type database struct {
	manager, path string
	read          func(root, path string) (map[string]string, error)
}

// databases are those of the package managers that are known.
var databases = []database{
	{"dpkg", "/var/lib/dpkg/status", readDpkg},
	{"pacman", "/var/lib/pacman/local", readPacman},
	{"rpm", "/usr/lib/sysimage/rpm", readRPM},
	{"rpm", "/var/lib/rpm", readRPM},
}

// findDatabase finds the first that has something in it: a machine may have the tools of another distribution. Without one its path is "".
func findDatabase(root string) database {
	for _, d := range databases {
		info, err := os.Stat(filepath.Join(root, d.path))
		if err == nil && (info.IsDir() && !isEmpty(filepath.Join(root, d.path)) || !info.IsDir() && info.Size() > 0) {
			return d
		}
	}
	return database{}
}

// Database tells where the package database of the machine below root is, as the machine sees it; "" for none that is known.
func Database(root string) string { return findDatabase(root).path }

// ReadPackages reads the package database of the machine below root.
func ReadPackages(root string) (Packages, error) {
	d := findDatabase(root)
	if d.path == "" {
		return Packages{}, nil
	}
	versions, err := d.read(root, d.path)
	if err != nil {
		return Packages{}, fmt.Errorf("read the package database %s: %w", d.path, err)
	}
	return Packages{Manager: d.manager, Database: d.path, Versions: versions}, nil
}

func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// readDpkg reads dpkg's status file.
func readDpkg(root, path string) (map[string]string, error) {
	f, err := os.Open(filepath.Join(root, path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	versions := map[string]string{}
	fields := map[string]string{}
	flush := func() {
		if strings.HasSuffix(fields["Status"], " installed") {
			versions[fields["Package"]+":"+fields["Architecture"]] = fields["Version"]
		}
		clear(fields)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			flush()
			continue
		}
		if key, value, found := strings.Cut(line, ": "); found && line[0] != ' ' {
			fields[key] = value
		}
	}
	flush()
	return versions, lines.Err()
}

// readPacman reads the names of pacman's directories: name-version-release.
func readPacman(root, path string) (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, path))
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "-")
		if e.IsDir() && len(parts) > 2 {
			at := len(parts) - 2
			versions[strings.Join(parts[:at], "-")] = strings.Join(parts[at:], "-")
		}
	}
	return versions, nil
}

// readRPM asks rpm, which alone knows its database's format.
func readRPM(root, path string) (map[string]string, error) {
	out, err := exec.Command("rpm", "--root", root, "--dbpath", path, "-qa", "--qf", "%{NAME}.%{ARCH}\t%{EVR}\n").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil // seen from a machine of another kind: it can't be told
	}
	if err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, version, found := strings.Cut(strings.TrimSpace(line), "\t"); found {
			versions[name] = version
		}
	}
	return versions, nil
}

// Without is p without what drop says.
func (p Packages) Without(drop func(name, version string) bool) Packages {
	p.Versions = maps.Clone(p.Versions)
	maps.DeleteFunc(p.Versions, drop)
	return p
}

// Missing lists what p has and other lacks or has in another version, as "name version", sorted.
func (p Packages) Missing(other Packages) []string {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(p.Versions)) {
		if other.Versions[name] != p.Versions[name] {
			missing = append(missing, name+" "+p.Versions[name])
		}
	}
	return missing
}
