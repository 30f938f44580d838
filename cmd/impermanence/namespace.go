package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// insideEnv tells that the process has a mount namespace of its own.
const insideEnv = "IMPERMANENCE_MOUNT_NAMESPACE"

// apart runs f where nothing that it mounts is seen by others, or left behind however it ends: the command line is run again,
// as root, in a mount namespace of its own. Mounts that the machine makes meanwhile are seen there too.
func (a *app) apart(ctx context.Context, f func() error) error {
	if os.Geteuid() != 0 {
		return &advised{errors.New("only root may do that"), "sudo " + again}
	}
	if a.env(insideEnv) != "" {
		return f()
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "--propagation=slave", "--", self}, a.args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, a.stdout.beneath(), a.stderr.beneath()
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil, cmd.ProcessState != nil && cmd.ProcessState.Success(): // also where an interrupt came too late
		return errRemoteDone
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return &remoteError{exit.ExitCode()}
	default:
		return fmt.Errorf("run unshare: %w", err)
	}
}
