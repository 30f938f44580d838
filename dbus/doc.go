// Package dbus is the contract of org.impermanence1: the server that the daemon
// runs, the typed client that the command line uses, the authorization by polkit
// between the two, and the table that maps errors to D-Bus names and back.
//
// The XML files beside this file are the source of truth for the interface: they
// are embedded, served as introspection data, installed, and tested against the code.
//
// The server is driven by values: the daemon implements [Backend], says with
// [Server.Changed] what kind of thing changed, and never sees a message. What may be
// done, when and to what is policy, and not here.
package dbus
