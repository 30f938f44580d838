package btrfstest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestWithoutFiles runs itself again for each thing that must not be done, and for one that may.
func TestWithoutFiles(t *testing.T) {
	deeds := map[string]func(){
		"nothing":   func() {},
		"read":      func() { _, _ = os.ReadFile("/etc/none") },
		"write":     func() { _ = os.WriteFile("none", nil, 0o600) },
		"stat":      func() { _, _ = os.Stat("none") },
		"directory": func() { _ = os.Mkdir(".", 0o700) },
		"remove":    func() { _ = os.Remove("none") },
	}
	if deed := os.Getenv("WITHOUT_FILES_DEED"); deed != "" {
		btrfstest.WithoutFiles(deeds[deed])
		return
	}
	for deed := range deeds {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestWithoutFiles$")
		cmd.Env = append(os.Environ(), "WITHOUT_FILES_DEED="+deed)
		out, err := cmd.CombinedOutput()
		if ended := err != nil && strings.Contains(string(out), "SIGSYS"); ended != (deed != "nothing") || !ended && err != nil {
			t.Errorf("%s: %v\n%s", deed, err, out)
		}
	}
}
