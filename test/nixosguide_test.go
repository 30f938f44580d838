package test

import (
	"strings"
	"testing"

	"github.com/impermanence/impermanence/daemon/config"
)

// TestNixOSGuide evaluates the machine that the guide shows with the module, and reads the configuration that comes of it.
func TestNixOSGuide(t *testing.T) {
	_, example, found := strings.Cut(readFile(t, "../systemd-units/doc/nixos.md"), "```nix\n")
	example, _, closed := strings.Cut(example, "```\n")
	if !found || !closed {
		t.Fatal("the guide shows no machine")
	}
	var m nixMachine
	nix(t, "import ./machine.nix { configuration = "+example+"; }", &m)
	if len(m.Failed) > 0 {
		t.Errorf("failed assertions: %q", m.Failed)
	}
	c, err := config.ParseBytes("nixos.json", []byte(m.Etc["impermanence/conf.d/nixos.json"]))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Ephemeral) != 1 || len(c.Entries()) != 5 {
		t.Errorf("%d ephemeral mount points and %d entries", len(c.Ephemeral), len(c.Entries()))
	}
}
