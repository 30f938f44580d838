// Package writelog records every write and flush that a file system sends to its device, and makes the device as a power
// cut at any moment could have left it.
//
// The device is a loop device over a file in a small FUSE file system of this package, so that nothing between the file
// system and the log can merge, reorder or hold back a write: what the log has after a flush is what a disk would have.
package writelog
