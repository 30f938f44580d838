// Package test holds the tests of the tree as a whole: who may import whom, the units as they are installed, the demo,
// the manual pages, and the machines that boot it.
package test
