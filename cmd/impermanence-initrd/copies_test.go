package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestNoCopies holds that copies go unwatched only where it is certain that there are none.
func TestNoCopies(t *testing.T) {
	m := newRunningMachine(t)
	btrfstest.Run(t, "mkdir", "--parents", filepath.Join(m.sysroot(), "home/reader"))
	const volume = "[persistence.\"/persist\"]\nfiles = [\"/etc/hostname\"]\n"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"nothing is configured":           {"", true},
		"a bound file":                    {volume, true},
		"a copied file":                   {"[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n", false},
		"a directory of what is fresh":    {"[ephemeral.\"/home\"]\nsubvolume = \"home\"\noldRoots = \"old_homes\"\n[persistence.\"/home/reader\"]\n", false},
		"a volume that is not there":      {volume + "[persistence.\"/late\"]\n", false},
		"one that is switched off":        {"[persistence.\"/persist\"]\nenable = false\nfiles = [{ file = \"/etc/shadow\", method = \"copy\" }]\n", true},
		"a copied file of the home":       {"[persistence.\"/persist\".users.demo]\nfiles = [{ file = \".rc\", method = \"copy\" }]\n", false},
		"a directory, and a file as link": {"[persistence.\"/persist\"]\ndirectories = [\"/srv\"]\nfiles = [{ file = \"/etc/x\", method = \"symlink\" }]\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			m.write(t, "copies.toml", c.text)
			cfg, err := config.Load(config.LoadOptions{Path: filepath.Join(m.dir, "copies.toml")})
			if err != nil {
				t.Fatal(err)
			}
			run := t.TempDir()
			if err := noteNoCopies(run, m.sysroot(), cfg); err != nil {
				t.Fatal(err)
			}
			if got := exists(t, filepath.Join(run, noCopiesName)); got != c.want {
				t.Errorf("the mark is there: %t, want %t", got, c.want)
			}
		})
	}
}

// TestNoCopiesInDoubt holds that a run that fails leaves no mark, not even that of an earlier one.
func TestNoCopiesInDoubt(t *testing.T) {
	m := newRunningMachine(t)
	mark := filepath.Join(m.dir, "run", noCopiesName)
	btrfstest.Run(t, "mkdir", "--parents", filepath.Join(m.dir, "run"))
	for name, text := range map[string]string{
		"a configuration that is wrong": "nonsense",
		"an entry that fails":           "[persistence.\"/persist\"]\nfiles = [{ file = \"/etc/x\", user = \"nobody-of-this-name\" }]\n",
	} {
		t.Run(name, func(t *testing.T) {
			m.write(t, "wrong.toml", text)
			if err := os.WriteFile(mark, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			o := options{config: filepath.Join(m.dir, "wrong.toml"), sysroot: m.sysroot(), runDir: filepath.Join(m.dir, "run"), keepGoing: true}
			if code := persistEntries(t.Context(), o, newLogger(t.Output(), person)); code != exitFailed {
				t.Fatalf("exit %d", code)
			}
			if exists(t, mark) {
				t.Error("the mark is there")
			}
		})
	}
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Lstat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}
