package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action, Package, Test, Output string
}

// tally is what has been seen so far.
type tally struct {
	out                     io.Writer
	passed, failed, skipped int
	outputs                 map[string][]string // what each running test printed
	skips                   []string
	broken                  map[string]bool // packages in which a test has failed
}

func main() {
	ok, err := run(os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// run is one go test; it is ok when something ran, nothing failed and nothing was skipped.
func run(out io.Writer, args []string) (bool, error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("run go test: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("run go test: %w", err)
	}
	ok := read(out, stdout)
	return cmd.Wait() == nil && ok, nil
}

// read prints what `go test -json` tells on r; it is ok when something ran, nothing failed and nothing was skipped.
func read(out io.Writer, r io.Reader) bool {
	c := tally{out: out, outputs: map[string][]string{}, broken: map[string]bool{}}
	c.read(r)
	for _, line := range c.skips {
		fmt.Fprintln(out, "SKIPPED (a skipped test fails the run):", line)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	return c.passed > 0 && c.failed == 0 && c.skipped == 0
}

func (c *tally) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(c.out, lines.Text())
			continue
		}
		c.see(e)
	}
}

// see prints what belongs to the package at once and keeps what a test prints until it is known how the test ends.
func (c *tally) see(e event) {
	key := e.Package + " " + e.Test
	switch {
	case e.Action == "build-output", e.Action == "output" && e.Test == "" && closing(e.Output):
		fmt.Fprint(c.out, e.Output)
	case e.Action == "output":
		c.outputs[key] = append(c.outputs[key], e.Output)
	case e.Action == "fail":
		fmt.Fprint(c.out, strings.Join(c.outputs[key], ""))
		delete(c.outputs, key)
		if e.Test != "" || !c.broken[e.Package] { // a package that fails by itself: not built, or ended by a panic
			c.failed++
		}
		c.broken[e.Package] = true
	case e.Action == "skip" && e.Test != "":
		c.skips = append(c.skips, key)
		c.skipped++
	case e.Action == "pass":
		delete(c.outputs, key)
		if e.Test != "" {
			c.passed++
		}
	}
}

// closing tells whether a line of a package's output is one that plain go test shows.
func closing(line string) bool {
	return slices.ContainsFunc([]string{"ok  \t", "FAIL", "?   \t", "---", "panic:"}, func(prefix string) bool {
		return strings.HasPrefix(line, prefix)
	})
}
