package dbus_test

import (
	"os"
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestMain runs the tests in a mount namespace of their own, for polkit's actions; or
// it is the server that a benchmark measures.
func TestMain(m *testing.M) {
	if address := os.Getenv(benchServer); address != "" {
		serveForBench(address)
		return
	}
	btrfstest.Main(m)
}
