package config

import (
	"os"
	"path/filepath"
	"testing"
)

// The contents differ with each file that is read, its name and its text, and with nothing else.
func TestContents(t *testing.T) {
	root := t.TempDir()
	opts := LoadOptions{Root: root}
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	last, err := opts.Contents()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		path, text string
		differs    bool
	}{
		{mainFile, "", true},
		{mainFile, "a = 1", true},
		{mainFile, "a = 1", false},
		{localDir + "/b.toml", "b", true},
		{localDir + "/b.toml~", "c", false},
		{localDir + "/.b.toml.swp", "c", false},
		{vendorDir + "/b.toml", "replaced by the one in /etc", false},
		{vendorDir + "/c.toml", "c", true},
		{localDir + "/c.toml", "", true},
	} {
		write(step.path, step.text)
		now, err := opts.Contents()
		if err != nil || (now != last) != step.differs {
			t.Errorf("%s = %q: differs %v, want %v (%v)", step.path, step.text, now != last, step.differs, err)
		}
		last = now
	}
	if _, err := (LoadOptions{Path: filepath.Join(root, "nowhere")}).Contents(); err == nil {
		t.Error("a file that was asked for and is not there has contents")
	}
}
