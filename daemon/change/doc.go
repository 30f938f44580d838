// Package change begins and ends the keeping of entries while the system runs: what is asked for is held against the
// configuration, recorded on the volume, and done.
//
// The daemon asks, in its own process or, from its sandbox, through a service that PID 1 starts: then the request and its
// reply are files in the runtime directory.
package change
