package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/impermanence/impermanence"

// reach says which other packages of the project a package may reach, by whatever way.
// A package that stands under no rule fails the test: a new one is placed on purpose.
var reach = map[string]struct {
	may []string
	why string
}{
	"btrfsops":                {nil, "mechanism is a leaf"},
	"persist":                 {nil, "mechanism is a leaf"},
	"dbus":                    {nil, "the contract is a leaf"},
	"daemon/config":           {[]string{"persist"}, "early boot reads it too"},
	"daemon/former":           {[]string{"btrfsops", "persist", "daemon/config"}, "early boot looks for them too"},
	"daemon/change":           {[]string{"btrfsops", "persist", "daemon/config"}, "carried out where no bus is, too"},
	"daemon/retention":        {nil, "what is kept is one pure function"},
	"daemon/losses":           {nil, "what is a loss depends on paths and rules alone"},
	"daemon/jobs":             {nil, "a job knows nothing of what it does"},
	"daemon":                  {[]string{"btrfsops", "persist", "dbus", "daemon/change", "daemon/config", "daemon/former", "daemon/jobs", "daemon/losses", "daemon/retention"}, "policy knows all three"},
	"daemon/fstab":            {nil, "early boot reads one too"},
	"daemon/machine":          {nil, "what a machine is, whatever is done with it"},
	"daemon/template":         {[]string{"btrfsops", "persist", "daemon/config", "daemon/machine"}, "works without the daemon"},
	"daemon/setup":            {[]string{"btrfsops", "persist", "daemon/config", "daemon/fstab", "daemon/machine", "daemon/template"}, "works before there is a daemon"},
	"daemon/check":            {[]string{"btrfsops", "persist", "daemon/config", "daemon/fstab", "daemon/machine", "daemon/template"}, "works without the daemon"},
	"cmd/impermanence":        {[]string{"dbus", "btrfsops", "persist", "daemon/config", "daemon/check", "daemon/fstab", "daemon/machine", "daemon/setup", "daemon/template"}, "D-Bus only, but for setup, check, template and import, which work where no daemon does"},
	"cmd/impermanence-initrd": {[]string{"btrfsops", "persist", "daemon/config", "daemon/former", "daemon/fstab"}, "early boot has no bus and no daemon"},
	"cmd/impermanenced":       {[]string{"btrfsops", "persist", "dbus", "daemon/change", "daemon/config", "daemon/former", "daemon/jobs", "daemon/losses", "daemon/retention", "daemon"}, "main only wires"},
}

// edges are the packages of others that only some of ours import themselves.
var edges = map[string]struct {
	in  []string
	why string
}{
	"github.com/godbus/dbus/v5": {[]string{"dbus"}, "godbus only in dbus/"},
	"golang.org/x/sys/unix":     {[]string{"btrfsops", "persist"}, "raw system calls only in the mechanism"},
	"github.com/dennwc/btrfs":   {[]string{"btrfsops"}, "btrfs only in btrfsops"},
	"go.uber.org/zap/zapcore":   {[]string{"daemon"}, "the mechanism returns facts, and the contract is the client's too"},
	"go.uber.org/zap":           {nil, "with it comes an HTTP server; its core has none"},
	"testing":                   {nil, "only tests import testing"},
}

// barred are the packages that a binary must not contain, for its size or for what it may do.
var barred = map[string][]string{
	"cmd/impermanence":        {"go.uber.org/zap/zapcore", "net/http"},
	"cmd/impermanenced":       {"go.uber.org/zap", "net/http"},
	"cmd/impermanence-initrd": {"github.com/godbus/dbus/v5", "go.uber.org/zap/zapcore", "net/http", "github.com/spf13/cobra", "crypto/rand", "crypto/sha256"},
}

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestReach holds who may import whom inside the project, over all ways that lead there.
func TestReach(t *testing.T) {
	for name, p := range projectPackages(t) {
		rule, ok := reach[name]
		if !ok {
			t.Errorf("%s stands under no import rule: add one to test/imports_test.go and .golangci.yml", name)
			continue
		}
		for _, dep := range p.Deps {
			if other, ours := inProject(dep); ours && !slices.Contains(rule.may, other) {
				t.Errorf("%s imports %s: %s", name, other, rule.why)
			}
		}
	}
}

// TestEdges holds that one package speaks D-Bus and two speak to the kernel.
func TestEdges(t *testing.T) {
	for name, p := range projectPackages(t) {
		for pkg, edge := range edges {
			if slices.Contains(p.Imports, pkg) && !slices.Contains(edge.in, name) {
				t.Errorf("%s imports %s: %s", name, pkg, edge.why)
			}
		}
	}
}

// TestBarred holds what must not be linked into a binary.
func TestBarred(t *testing.T) {
	packages := projectPackages(t)
	for name, bars := range barred {
		p, ok := packages[name]
		if !ok {
			t.Errorf("%s is not there", name)
			continue
		}
		for _, bar := range bars {
			if slices.Contains(p.Deps, bar) {
				t.Errorf("%s contains %s", name, bar)
			}
		}
	}
}

// projectPackages lists the packages of the project outside test/, by their folder.
func projectPackages(t *testing.T) map[string]listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderrOf(err))
	}
	packages := map[string]listed{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("read go list's answer: %v", err)
		}
		if name, ours := inProject(p.ImportPath); ours && name != "test" && !strings.HasPrefix(name, "test/") {
			packages[name] = p
		}
	}
}

// inProject gives the folder of a package of the project.
func inProject(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/")
}

func stderrOf(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
