// Command impermanenced is the daemon of impermanence: it serves org.impermanence1 on the system bus.
//
// It only wires: what it does is in package daemon, what is seen of it in package dbus.
package main
