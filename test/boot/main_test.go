package boot

import (
	"testing"

	"github.com/impermanence/impermanence/test/btrfstest"
)

// TestMain runs the tests in a mount namespace of their own.
func TestMain(m *testing.M) { btrfstest.Main(m) }
