// Package setup turns an installed machine on btrfs into one whose root is fresh at every boot, and back.
//
// Gather finds out what the machine is, Plan decides from that alone what is to be done, Apply does it: step by step, each of
// which may be done again. What it is about to change stands first in a record below /etc/impermanence, so that a set-up that
// was interrupted at any step goes on where it stopped, and Undo gives everything back. Until the last step, the making of the
// template, a machine that has been half set up boots its former root.
//
// Mounts are made in the mount namespace of the process, which is best one of its own.
package setup
