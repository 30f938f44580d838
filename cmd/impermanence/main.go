package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

func main() {
	// SIGPIPE stays as it is: who closes our standard output has seen enough. So does SIGHUP: a job outlives the
	// terminal that it was begun on.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	shown := &atomic.Bool{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), listShown{}, shown))
	go heed(signals, shown, cancel)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// listShown is the key of what says, in a context, whether a list has the whole screen: an *atomic.Bool.
type listShown struct{}

// heed cancels at the first signal; a second one ends the process at once. To a list Ctrl-C is a key: as a signal it is for the program
// that the list lends its screen to.
func heed(signals chan os.Signal, shown *atomic.Bool, cancel func()) {
	first := 1
	if os.Getenv(insideEnv) != "" { // the terminal tells this process, and the one that has started it tells it again
		first = 2
	}
	for heeded := 0; heeded < first; {
		if <-signals == os.Interrupt && shown.Load() {
			continue
		}
		heeded++
		cancel()
	}
	signal.Stop(signals)
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr *os.File, env getenv) int {
	written := &checked{w: stdout}
	a := &app{
		args:   args,
		env:    env,
		stdout: newOutput(stdout, env).to(written),
		stderr: newOutput(stderr, env),
	}
	defer a.close()
	cmd, err := a.command().ExecuteContextC(ctx)
	a.name = cmd.CommandPath()
	if err == nil {
		err = written.err
	}
	a.report(err)
	return exitCode(err)
}
