// Command impermanence is the command line of a root file system that is fresh at every boot: it shows what happened at
// this boot, keeps and deletes old roots and snapshots, and puts entries in their place.
//
// It asks impermanenced for everything, over D-Bus (without a bus, one that it starts for itself), and touches neither the file system nor its configuration itself:
// what it can do, busctl and a desktop can do too. The exit codes stand in exit.go, the rules of what it prints in
// output.go, what it advises after an error in advice.go, and its man page in impermanence.1, which a test holds against
// the commands and options that are really there.
//
// Out of scope: deciding anything that the daemon decides.
package main
