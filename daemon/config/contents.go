package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Contents is what the configuration files hold now. It differs when Load would read anything else, presets aside: those come
// with the program.
func (o LoadOptions) Contents() (string, error) {
	files, err := o.Files()
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			return "", fmt.Errorf("read the configuration: %w", err)
		}
		fmt.Fprintf(&all, "%q %d\n%s", file, len(data), data)
	}
	return all.String(), nil
}

// Dirs are the directories that the configuration files are in, or would be.
func (o LoadOptions) Dirs() []string {
	if o.Path != "" {
		return []string{o.Path, filepath.Dir(o.Path)}
	}
	return []string{
		filepath.Join(o.Root, "/", vendorDir), filepath.Join(o.Root, "/", filepath.Dir(mainFile)), filepath.Join(o.Root, "/", localDir),
	}
}
