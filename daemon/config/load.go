package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// The usual places, below LoadOptions.Root, in the order in which they are read: later ones add to earlier ones.
const (
	vendorDir = "/usr/lib/impermanence/conf.d"
	mainFile  = "/etc/impermanence/impermanence.toml"
	localDir  = "/etc/impermanence/conf.d"
)

// maxSize bounds a configuration file.
const maxSize = 16 << 20

// LoadOptions say where the configuration is.
type LoadOptions struct {
	Root string // prefix of the usual places; empty: "/"
	Path string // a file, or a directory of files, to read instead of the usual places; Root does not apply to it
	Main []byte // what is to be written into the main file: read in place of what is in it; nil: that
}

// Load reads and merges the configuration. Its error is Errors when the configuration is wrong. No file at all is an empty
// configuration, unless Path was given.
func Load(opts LoadOptions) (*Config, error) {
	files, err := opts.Files()
	if err != nil {
		return nil, err
	}
	presets := presetFiles(opts.Root)
	d := &decoder{presetFiles: &presets}
	tree := newTable(position{})
	for _, file := range files {
		data := opts.Main
		if data == nil || file != opts.mainFile() {
			if data, err = readFile(file); err != nil {
				return nil, fmt.Errorf("read the configuration: %w", err)
			}
		}
		d.add(tree, file, data)
	}
	return d.finish(tree)
}

// ParseBytes reads one configuration; name is the file's name for messages, and says JSON when it ends in .json. It touches no
// file: a configuration that names presets is refused.
func ParseBytes(name string, data []byte) (*Config, error) {
	d := &decoder{}
	tree := newTable(position{file: name})
	d.add(tree, name, data)
	return d.finish(tree)
}

// add lays a file over the tree.
func (d *decoder) add(tree *value, name string, data []byte) {
	d.files = append(d.files, name)
	read := readTOML
	if strings.HasSuffix(name, ".json") {
		read = readJSON
	}
	v, err := read(name, data)
	var problems Errors
	if errors.As(err, &problems) {
		d.problems = append(d.problems, problems...)
		return
	}
	merge(tree, v)
}

// finish reads the tree; with a problem there is no configuration.
func (d *decoder) finish(tree *value) (*Config, error) {
	c := d.read(tree)
	if len(d.problems) > 0 {
		sort.SliceStable(d.problems, func(a, b int) bool { return d.comparePlaces(d.problems[a], d.problems[b]) < 0 })
		return nil, d.problems
	}
	return c, nil
}

// comparePlaces orders problems by file, in the order of reading, and by their place in it.
func (d *decoder) comparePlaces(a, b *Error) int {
	return cmp.Or(
		cmp.Compare(slices.Index(d.files, a.File), slices.Index(d.files, b.File)),
		cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// Files lists what is to be read, in order.
func (o LoadOptions) Files() ([]string, error) {
	if o.Path != "" {
		return explicitFiles(o.Path)
	}
	local, err := listDir(filepath.Join(o.Root, "/", localDir))
	if err != nil {
		return nil, err
	}
	vendor, err := listDir(filepath.Join(o.Root, "/", vendorDir))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, file := range vendor {
		if !slices.ContainsFunc(local, func(l string) bool { return filepath.Base(l) == filepath.Base(file) }) {
			files = append(files, file) // one of the same name in /etc replaces it
		}
	}
	if file := o.mainFile(); o.Main != nil || exists(file) {
		files = append(files, file)
	}
	return append(files, local...), nil
}

func (o LoadOptions) mainFile() string { return filepath.Join(o.Root, "/", mainFile) }

// explicitFiles gives the file, or those in the directory, that was asked for.
func explicitFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if info.IsDir() {
		return listDir(path)
	}
	return []string{path}, nil
}

// listDir gives the configuration files of a directory, sorted by name; one that does not exist has none.
func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".toml") || strings.HasSuffix(name, ".json")) {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// readFile reads a regular file of sane size; /dev/null, to which a file may be linked to switch it off, is empty.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeCharDevice != 0 {
		return nil, nil
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, fmt.Errorf("%s: not a configuration file", path)
	}
	return os.ReadFile(path)
}
