// Package btrfsops is every operation of impermanence on a btrfs file system: rollover, snapshot, list, compare, delete, space.
//
// It is mechanism: it knows subvolumes, not policy. It reaches a file system through its top level (subvolume id 5), by
// file descriptors and subvolume ids, never through a path that somebody else could change meanwhile.
//
// The words, as the whole project uses them:
//
//   - top level: the whole btrfs file system, subvolume id 5.
//   - root: the subvolume mounted at an ephemeral mount point.
//   - template: a read-only subvolume that a fresh root is a writable snapshot of; without one a fresh root is empty.
//   - rollover: at boot, before the root is mounted, the root becomes an old root and a fresh root takes its place.
//   - old root: a former root, kept below old_roots until retention lets it go.
//   - snapshot: a read-only copy of the running root made on request, kept beside the old roots.
//   - staged root: a fresh root under way, at "root.next", until it is exchanged with the root.
//
// # Durability
//
// btrfs commits whole transactions, in order: after a power cut the file system is as some prefix of the operations left
// it. Every sequence here is therefore written so that each prefix of it is a good state, and ends with one commit. What
// each step leaves behind stands in a comment above the sequence, and a test cuts the power at every write.
//
// # Out of scope
//
// Mounting the root, persistence, when to roll over, what to delete: those are the initrd's units, package persist and
// the daemon. Quotas are never read or enabled: they make deletion slow (19-25 s instead of 0.3 s for 3,000 subvolumes).
// 32-bit machines: the ioctl numbers of github.com/dennwc/btrfs are wrong there.
package btrfsops
