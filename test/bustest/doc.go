// Package bustest runs a private message bus for tests: a real dbus-daemon, or dbus-broker, that is
// configured like a system bus, with the project's own bus policy, and, when asked
// for, a real polkitd with the project's own actions.
package bustest
