package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"github.com/impermanence/impermanence/dbus"
)

// remote runs the same command line on another machine over ssh, as busctl -H does, and returns its exit code as an
// error. A terminal there is a terminal here: colors, progress and Ctrl-C reach as far.
func (a *app) remote(ctx context.Context) error {
	options := []string{"-T"}
	if a.stdout.terminal && a.stderr.terminal {
		options = []string{"-t"}
	}
	cmd := exec.CommandContext(ctx, "ssh", append(options, "--", a.host, typed(withoutHost(a.args), literally))...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, a.stdout.beneath(), a.stderr.beneath()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return errRemoteDone
	case !errors.As(err, &exit):
		return fmt.Errorf("run ssh: %w", err)
	case exit.ExitCode() == sshFailed:
		return &advised{fmt.Errorf("ssh %s: %w", a.host, dbus.ErrUnreachable), "ssh " + quote(a.host)}
	case exit.ExitCode() == notFound:
		return &advised{fmt.Errorf("ssh %s: %w: impermanence is not installed there", a.host, dbus.ErrUnreachable), "ssh " + quote(a.host)}
	case exit.ExitCode() < 0:
		return fmt.Errorf("ssh %s: %w", a.host, exit)
	default:
		return &remoteError{exit.ExitCode()}
	}
}

// The exit codes of ssh when it fails itself, and of a shell that does not find a program.
const (
	sshFailed = 255
	notFound  = 127
)

// errRemoteDone ends a command line that was done on another machine.
var errRemoteDone = errors.New("done on another machine")

// remoteError is the exit code of a command on another machine, which has said there what went wrong.
type remoteError struct{ code int }

func (e *remoteError) Error() string { return fmt.Sprintf("exit status %d on another machine", e.code) }

// withoutHost returns a command line that means the same on the other machine: there the host is none, since of an option
// that is given twice the last counts.
func withoutHost(args []string) []string {
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	return slices.Insert(slices.Clone(args), at, "--host=")
}

// isRemote says whether an error stands for what another machine has reported.
func isRemote(err error) bool {
	var there *remoteError
	return errors.Is(err, errRemoteDone) || errors.As(err, &there)
}
