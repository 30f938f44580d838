// Command impermanence-initrd is the part of impermanence that runs in early boot: it gives the machine a fresh root
// before the root is mounted (rollover), and puts the entries in place before the root is switched to (persist).
//
// It needs no bus and no daemon, and costs nothing that a failure of it could take from the boot: what went wrong is
// logged, recorded in the runtime directory for the daemon, and said in the exit code:
//
//	0  done, or nothing to do
//	1  failed; the boot is to go on, with the former root
//	2  wrong usage
//	3  failed, and onFailure = "emergency" asks to stop the boot
package main
