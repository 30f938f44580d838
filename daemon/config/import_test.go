package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestImport holds what becomes of evaluated configurations of the modules against golden files.
func TestImport(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		toml, left, err := config.Import(read(t, file))
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, toml)
			continue
		}
		var got strings.Builder
		for _, line := range left {
			got.WriteString("# not carried over: " + line + "\n")
		}
		got.Write(toml)
		golden := strings.TrimSuffix(file, ".json") + ".toml"
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(read(t, golden)), got.String()); diff != "" {
			t.Errorf("%s (-want +got; UPDATE=1 writes it anew)\n%s", golden, diff)
		}
	}
}

func TestImportOfSomethingElse(t *testing.T) {
	for _, text := range []string{"{}", "[]", "{", `{"a": {"b": 1}}`, `{"/persist": 3}`} {
		if toml, _, err := config.Import([]byte(text)); err == nil {
			t.Errorf("%s became %s", text, toml)
		}
	}
}

// FuzzImport holds that what is imported can be read, and that no input makes it look at any file.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/import/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var toml []byte
		var err error
		btrfstest.WithoutFiles(func() { toml, _, err = config.Import(data) })
		if err == nil {
			if _, err := config.ParseBytes("imported.toml", toml); err != nil {
				t.Errorf("%v\n%s", err, toml)
			}
		}
	})
}
