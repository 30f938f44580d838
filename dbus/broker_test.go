package dbus_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/impermanence/impermanence/test/bustest"
)

// TestOnDBusBroker runs all other tests of this package on dbus-broker: whoever calls, and attacks, finds the same there.
func TestOnDBusBroker(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.skip=^TestOnDBusBroker$", "-test.v")
	// It gets a mount namespace of its own.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "IMPERMANENCE_TEST_NAMESPACE=") })
	cmd.Env = append(cmd.Env, bustest.BrokerEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if passed := strings.Count(string(out), "\n--- PASS: "); passed < 50 {
		t.Errorf("only %d tests passed", passed)
	}
}
