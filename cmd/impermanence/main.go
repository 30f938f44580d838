package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// SIGPIPE stays as it is: who closes our standard output has seen enough. So does SIGHUP: a job outlives the
	// terminal that it was begun on.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		if os.Getenv(insideEnv) != "" { // the terminal tells this process, and the one that has started it tells it again
			again := make(chan os.Signal, 1)
			signal.Notify(again, os.Interrupt, syscall.SIGTERM)
			<-again
		}
		stop() // a second signal ends the process at once
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
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
