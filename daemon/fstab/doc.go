// Package fstab reads file system tables as libmount does, and changes lines of them: see fstab(5).
package fstab
