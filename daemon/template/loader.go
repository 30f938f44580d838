package template

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// bootLoader has the boot loader find what it looks for in the root. A program that a command runs in a copy of the template at path, such as
// grub-mkconfig, asks where it runs, and writes that down: nothing is there once the copy is the template.
func (t *Template) bootLoader(dir, path string, since time.Time) error {
	images, err := filepath.Glob(filepath.Join(dir, "boot/grub*/*/core.*"))
	if err != nil {
		return err
	}
	for _, image := range images {
		if info, err := os.Stat(image); err == nil && !t.bootApart() && !info.ModTime().Before(since.Truncate(time.Second)) {
			t.note(fmt.Sprintf("GRUB was installed by the command, and looks for its files in /%s/boot, which will be gone: "+
				"install it in the running root too before the next boot, as --also-now does", path))
			break
		}
	}
	return rename(dir, path, t.layout.Root)
}

// rename has the configuration of boot loaders in a tree name a subvolume by another path: in paths of files, and for the kernel.
func rename(dir, from, to string) error {
	name := regexp.MustCompile(`(?m)(subvol=/?|/)` + regexp.QuoteMeta(from) + `([/'",\s]|$)`)
	replacement := []byte("${1}" + strings.ReplaceAll(to, "$", "$$") + "${2}")
	for _, boot := range []string{"boot", "efi"} {
		found, err := files(filepath.Join(dir, boot))
		if err != nil {
			return fmt.Errorf("find what the boot loader reads: %w", err)
		}
		for file := range found {
			if !isConfiguration(file) {
				continue
			}
			if err := replaceIn(filepath.Join(dir, boot, file), name, replacement); err != nil {
				return fmt.Errorf("have /%s/%s name the root: %w", boot, file, err)
			}
		}
	}
	return nil
}

// replaceIn replaces what matches in a file.
func replaceIn(file string, what *regexp.Regexp, by []byte) error {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if changed := what.ReplaceAll(text, by); !bytes.Equal(changed, text) {
		return renameio.WriteFile(file, changed, info.Mode().Perm())
	}
	return nil
}
