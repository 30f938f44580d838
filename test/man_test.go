package test

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manDir = "../systemd-units/man/"

// TestManPagesAreWellFormed has mandoc read every page.
func TestManPagesAreWellFormed(t *testing.T) {
	for _, path := range manPages(t) {
		out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", path).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") { // a date would be of the page, not of what it describes
				t.Error(line)
			}
		}
	}
}

// TestManPagesNameEveryOption holds the pages of the two programs that are not for the command line against their help.
func TestManPagesNameEveryOption(t *testing.T) {
	build(t)
	option := regexp.MustCompile(`(?m)^  -([a-z-]+)(?: (\w+))?\n\s+(.*)$`)
	for _, program := range []string{"impermanenced", "impermanence-initrd"} {
		help, err := exec.Command("../bin/"+program, "-help").CombinedOutput()
		if err != nil {
			t.Fatalf("%s -help: %v\n%s", program, err, help)
		}
		page := manText(t, manDir+program+".8")
		options := option.FindAllStringSubmatch(string(help), -1)
		if len(options) < 4 {
			t.Errorf("the help of %s has %d options:\n%s", program, len(options), help)
		}
		for _, o := range options {
			for _, want := range []string{strings.TrimSpace("-" + o[1] + " " + o[2]), o[3]} {
				if !strings.Contains(page, want) {
					t.Errorf("%s(8) does not say %q", program, want)
				}
			}
		}
	}
}

// TestManPageNamesEveryKey holds impermanence.toml(5) against the reference, which has every key there is, and its example
// against the one that the demo runs with.
func TestManPageNamesEveryKey(t *testing.T) {
	page := manText(t, manDir+"impermanence.toml.5")
	key := regexp.MustCompile(`\b([a-zA-Z]+) = `)
	keys := key.FindAllStringSubmatch(readFile(t, "../daemon/config/reference.toml"), -1)
	if len(keys) < 30 {
		t.Fatalf("found only %d keys in the reference", len(keys))
	}
	for _, k := range keys {
		if !regexp.MustCompile(`\b` + k[1] + `\b`).MatchString(page) {
			t.Errorf("impermanence.toml(5) does not name %s", k[1])
		}
	}
	_, example, _ := strings.Cut(page, ".SH EXAMPLE\n.nf\n")
	example, _, _ = strings.Cut(example, ".fi\n")
	if diff := cmp.Diff(readFile(t, "../daemon/config/testdata/seeds.toml"), example); diff != "" {
		t.Errorf("the example (-seeds.toml +page):\n%s", diff)
	}
}

func manPages(t *testing.T) []string {
	t.Helper()
	var pages []string
	for _, pattern := range []string{manDir + "*.[1-8]", "../cmd/*/*.[1-8]", "../dbus/*.[1-8]"} {
		pages = append(pages, globbed(t, pattern)...)
	}
	if len(pages) < 4 {
		t.Fatalf("found only %s", pages)
	}
	return pages
}

// manText is the source of a page without its fonts and escapes.
func manText(t *testing.T, path string) string {
	t.Helper()
	plain := regexp.MustCompile(`\\f[BIRP]`).ReplaceAllString(readFile(t, path), "")
	return strings.NewReplacer(`\-`, "-", `\(dq`, `"`, `\e`, `\`, `\&`, "").Replace(plain)
}
