// Package btrfstest gives tests a real btrfs file system on a loop device, in a mount namespace of their own.
//
// Everything it makes is removed by id when the test ends: each loop device it attached, each mount it made, each image
// file. The private mount namespace makes sure that nothing is left behind even when the test process is killed.
//
// It needs root and the programs mkfs.btrfs, losetup, mount and btrfs; a test without them fails, it does not skip.
package btrfstest
