// Package check says what is wrong with a machine that is to be impermanent, each with what to do about it.
//
// Gather finds out, Judge decides from that alone. It needs no daemon, and changes nothing.
package check
