package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/impermanence/impermanence/daemon/config"
	"github.com/impermanence/impermanence/test/btrfstest"
)

// FuzzParse holds that no input makes the parser panic or hang, or look at any file, that a problem always has a line, and that what it takes
// for TOML is what the library's own decoder takes for TOML.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/seeds.toml", "reference.toml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	problems, err := os.ReadFile("testdata/problems.txt")
	if err != nil {
		f.Fatal(err)
	}
	for part := range strings.SplitSeq(string(problems), "\n=====\n") {
		text, _, _ := strings.Cut(part, "\n-----\n")
		f.Add([]byte(text))
	}
	for _, text := range []string{
		"a.b = 1\n[a]\nc = 2", "[a.b]\n[a]\n[a.b]", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "a = {b.c = 1}\na.b.d = 2", "a = [{b = 1}]\n[[a]]",
		"[a]\nb.c = 1\n[a.b]", "[a]\nb.c = 1\n[a.b.d]", "\"\" = 1\n'' = 2", "a = 1 # c\nb = [ # d\n1,\n2\n]", "\ufeffa = 1", "{\"a\": [1, null, {}], \"a\": 2}", "[[[[",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"c.json", "c.toml"} {
			var c *config.Config
			var err error
			btrfstest.WithoutFiles(func() { c, err = config.ParseBytes(name, data) })
			checkOutcome(t, c, err)
			if name == "c.toml" {
				checkAgainstLibrary(t, data, err)
			}
		}
	})
}

func checkOutcome(t *testing.T, c *config.Config, err error) {
	t.Helper()
	if (c == nil) != (err != nil) {
		t.Fatalf("got %+v and %v", c, err)
	}
	var problems config.Errors
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("got %T", err)
	}
	for _, p := range problems {
		if p.Line < 1 {
			t.Errorf("no line in %+v", p)
		}
	}
	if c == nil {
		return
	}
	for _, e := range c.Entries() {
		if !strings.HasPrefix(e.Target, "/") || !strings.HasPrefix(e.Source, e.Volume+"/") || strings.Contains(e.Target+e.Source, "/../") {
			t.Errorf("entry leads out: %+v", e)
		}
	}
}

// checkAgainstLibrary compares what is refused as TOML (not as configuration) with the library's decoder.
func checkAgainstLibrary(t *testing.T, data []byte, err error) {
	t.Helper()
	refused := false
	var problems config.Errors
	if errors.As(err, &problems) {
		for _, p := range problems {
			refused = refused || strings.HasPrefix(p.Message, "not TOML") || p.Message == "is defined twice"
		}
	}
	var tree map[string]any
	decode := toml.Unmarshal(data, &tree)
	if refused == (decode == nil) && !valueError(decode) {
		t.Errorf("%q: refused %t (%v), the library: %v", data, refused, err, decode)
	}
}

// valueError tells whether the library refused the value of a number or date, which the schema decides here.
func valueError(err error) bool {
	if err == nil {
		return false
	}
	for _, about := range []string{"integer", "number", "float", "date", "time", "hour", "minute", "second", "year", "month", "day", "too large", "zone", "decimal", "digit"} {
		if strings.Contains(err.Error(), about) {
			return true
		}
	}
	return false
}
