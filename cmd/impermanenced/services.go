package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/impermanence/impermanence/daemon"
)

// restore does what a daemon asks for, which also tells what became of it.
func restore(f options, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := daemon.RestoreFor(ctx, f.RunDir, f.restore, f.Sysroot); err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return exitFailed
	}
	return exitDone
}

// commands are what the program does: as a daemon, or as one of the services beside it.
var commands = map[string]func(options) error{
	"":          serve,
	"change":    func(o options) error { return untilStopped(daemon.Carry, o) },
	"copy-back": func(o options) error { return untilStopped(daemon.CopyBack, o) },
	"copy-last": func(o options) error { return untilStopped(daemon.CopyLast, o) },
}

// untilStopped runs a service until it ends or is told to.
func untilStopped(run func(context.Context, daemon.Options) error, o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, o.Options)
}
