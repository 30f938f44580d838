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
	direct         direct
	own            *ownDaemon // that the client talks to, without a bus
}

// connect returns the connection to the daemon, and makes it when there is none yet. It outlives ctx, so that a job can
// still be canceled.
func (a *app) connect(ctx context.Context) (*dbus.Client, error) {
	if a.host != "" {
		return nil, fmt.Errorf("%w: %s is another machine", dbus.ErrUnreachable, a.host) // for completion
	}
	if a.client != nil {
		return a.client, nil
	}
	options := dbus.ClientOptions{Address: a.env("DBUS_SYSTEM_BUS_ADDRESS"), Interactive: a.stderr.terminal}
	lasting := context.WithoutCancel(ctx)
	if a.direct.noBus {
		own, connection, err := a.direct.start(lasting)
		if err != nil {
			return nil, err
		}
		a.own, options.Peer = own, connection
	}
	client, err := dbus.NewClient(lasting, options)
	if err != nil {
		return nil, a.unreachable(err)
	}
	a.client = client
	return client, nil
}

// unreachable adds to an error what a daemon of our own said before it was out of reach; where there is no bus, how to do
// without.
func (a *app) unreachable(err error) error {
	if a.own == nil {
		return &advised{err, "sudo impermanence --no-bus" + strings.TrimPrefix(commandLine(a.args), "impermanence")}
	}
	if a.client != nil {
		_ = a.client.Close() // it has ended already
	}
	said := a.own.end()
	a.client, a.own = nil, nil
	return &advised{fmt.Errorf("%w: %s", err, said), ""}
}

// close ends the connection to the daemon, and waits for the end of one of our own.
func (a *app) close() {
	if a.client != nil {
		_ = a.client.Close() // nothing is under way on it any more
	}
	if a.own != nil {
		a.own.end()
	}
}

// report prints the error that a command ended with, and what to type next.
func (a *app) report(err error) {
	if err == nil || isRemote(err) {
		return
	}
	o := a.stderr
	if a.own != nil && errors.Is(err, dbus.ErrUnreachable) {
		err = a.unreachable(err)
	}
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
