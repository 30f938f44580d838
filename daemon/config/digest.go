package config

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
)

// Digest is a digest of the configuration files as they are now. It differs when Load would read anything else, presets
// aside: those come with the program.
func (o LoadOptions) Digest() ([sha256.Size]byte, error) {
	files, err := o.files()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	all := sha256.New()
	for _, file := range files {
		data, err := readFile(file)
		if err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("read the configuration: %w", err)
		}
		_, _ = fmt.Fprintf(all, "%q %d\n%s", file, len(data), data) // a hash takes everything
	}
	return [sha256.Size]byte(all.Sum(nil)), nil
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
