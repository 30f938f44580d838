package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/impermanence/impermanence/dbus"
)

// app is one run of the command line.
type app struct {
	args           []string
	host           string // of another machine; "" for this one
	env            getenv
	name           string // of the command that runs, as typed: "impermanence prune"
	stdout, stderr output
	json           bool
	client         *dbus.Client
}

// connect returns the connection to the daemon, and makes it when there is none yet. It outlives ctx, so that a job can
// still be canceled.
func (a *app) connect(ctx context.Context) (*dbus.Client, error) {
	if a.host != "" {
		return nil, fmt.Errorf("%w: %s is another machine", dbus.ErrUnreachable, a.host) // for completion
	}
	if a.client == nil {
		client, err := dbus.NewClient(context.WithoutCancel(ctx), dbus.ClientOptions{
			Address:     a.env("DBUS_SYSTEM_BUS_ADDRESS"),
			Interactive: a.stderr.terminal,
		})
		if err != nil {
			return nil, err
		}
		a.client = client
	}
	return a.client, nil
}

// close ends the connection to the daemon.
func (a *app) close() {
	if a.client != nil {
		_ = a.client.Close() // nothing is under way on it any more
	}
}

// report prints the error that a command ended with, and what to type next.
func (a *app) report(err error) {
	if err == nil || isRemote(err) {
		return
	}
	o := a.stderr
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("interrupted before the daemon answered: %w", err)
	}
	if errors.Is(err, dbus.ErrUnreachable) && !strings.Contains(err.Error(), dbus.ErrUnreachable.Error()) {
		err = fmt.Errorf("the daemon is out of reach: %w", err)
	}
	o.line("%s %s", o.paint(red, "error:"), o.text(err.Error()))
	if try := a.advice(err); try != "" {
		o.line("%s   %s", o.paint(bold, "try:"), o.text(try))
	}
}

// jsonFlag adds --json to a command.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "print one JSON document")
}

// notice tells a person who waits for an answer that there is nothing to show.
func (a *app) notice(text string) {
	if a.stdout.terminal {
		a.stderr.line("%s", text)
	}
}
