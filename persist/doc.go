// Package persist puts entries in their places: directories and files that are kept on a persistent volume and appear, by
// a bind mount, a symlink or a copy, where the running system expects them.
//
// Inspect reads what is there, Plan decides (a pure function of facts and entries), and Apply does it. Applying twice
// changes nothing the second time. Nothing that existed before is lost: what stands in the place of an entry whose source
// does not exist yet becomes the source; what differs from an existing source is reported as a conflict.
//
// In the running system Adopt begins to keep what is there and Forget ends it, CopyBack copies files back whose programs
// replace them by rename, and Orphans lists what lies on a volume undeclared.
//
// Words: an entry has a target, which is its place in the root, and a source, which is where it is kept on its volume.
// Paths in an entry are as the booted system sees them; Options say where that system's root is mounted now.
//
// Paths below directories that a user may write are resolved without following symlinks. Every operation works on file
// descriptors, so that renaming a directory in between cannot lead it elsewhere.
//
// Early boot carries this package, so it is kept small: sort.SliceStable serves where slices.SortFunc would compile the
// algorithm anew, 45 KiB, for each type.
//
// Out of scope: reading configuration (daemon/config), btrfs (btrfsops), when to run (impermanence-initrd and the daemon).
package persist
