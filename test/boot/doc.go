// Package boot holds the tests that start machines: a stock Debian on btrfs, with our package installed as a person would install it, in a
// virtual machine with the initrd that Debian makes. What a boot is to show stands in the scripts in guest/, which run inside.
//
// What a machine printed, and what was checked in it, is kept in the directory that IMPERMANENCE_TEST_ARTIFACTS names.
package boot
