// Package daemon is the policy of impermanence on a running machine: what is kept and what is pruned, who works on a file
// system, what is told of it all. It implements [dbus.Backend] over the mechanisms btrfsops and persist.
//
// A [Daemon] is the state and the deeds; [Supervise] runs it and the bus server as tasks, and speaks with the service
// manager. A [Task] runs until its context ends, and says when it is ready; READY=1 goes out when every task is. The file
// system is not looked at before that: it is opened when somebody asks, and closed when nobody has for a while.
//
// # Ids
//
// A root is known outside by the id of its subvolume. With ephemeral mount points on several file systems ids would
// repeat: those of the second file system and of later ones have their number above bit 48.
//
// # Out of scope
//
// Rolling over (early boot does it), what the bus looks like (package dbus), and mounting for the host: a sandboxed daemon
// asks PID 1 for that.
package daemon
