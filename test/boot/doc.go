// Package boot holds the tests that start machines: a stock Debian on btrfs, with our package installed as a person would install it, with
// the initrd that Debian makes, in a virtual machine or, where neither the kernel nor a device has a part in what is shown, in a container.
// What a boot is to show stands in the scripts in guest/, which run inside.
//
// What a machine printed, and what was checked in it, is kept in the directory that IMPERMANENCE_TEST_ARTIFACTS names.
package boot
