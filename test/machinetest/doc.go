// Package machinetest installs small machines for tests: a tree with what a distribution and the project's package put there, a
// shell to run scripts in it, and an initrd tool that only notes what it would put into the initrd.
package machinetest
