// Command run runs `go test` and fails when a test is skipped, since a test that did not run proves nothing.
//
// It prints what plain `go test` prints (the closing line of each package, the output of what failed), then one line that counts.
// Its arguments are go test's.
package main
