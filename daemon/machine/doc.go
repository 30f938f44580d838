// Package machine looks at an installed machine, the running one or one whose root is mounted somewhere: its mounts,
// kernel command line, boot loader, initrd tool and package database. It also runs programs in such a root.
//
// It tells facts. What is to be done about them is up to its callers.
package machine
