package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const busConfig = `<busconfig>
  <type>session</type>
  <listen>unix:path=%s/socket</listen>
  <servicedir>%[1]s</servicedir>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
`

const activation = `[D-BUS Service]
Name=org.impermanence1
Exec=%s/impermanenced --config=%s --device=%s --top=%s --run-dir=%s --sysroot=%s
`

// daemon starts a private bus that starts impermanenced on the disk for the first who calls it, and returns the environment
// of a caller. Both go with the disk.
func (d *disk) daemon(ctx context.Context, top string) (environment []string, err error) {
	return d.daemonWith(ctx, top, rolloverConfig)
}

// daemonWith is daemon with another configuration.
func (d *disk) daemonWith(ctx context.Context, top, configuration string) (environment []string, err error) {
	dir := d.stage.path("bus")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	config, err := d.config(configuration)
	if err != nil {
		return nil, err
	}
	service := fmt.Sprintf(activation, d.stage.bin, config, d.device, top, d.stage.path("run"), top)
	if err := os.WriteFile(filepath.Join(dir, "org.impermanence1.service"), []byte(service), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), fmt.Appendf(nil, busConfig, dir), 0o644); err != nil {
		return nil, err
	}
	bus := exec.CommandContext(ctx, "dbus-daemon", "--nofork", "--print-address", "--config-file="+filepath.Join(dir, "bus.conf"))
	environment = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(dir, "socket"))
	bus.Env = environment // the daemon that it starts inherits it
	out, err := bus.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := bus.Start(); err != nil {
		return nil, err
	}
	d.undo = append(d.undo, func() {
		_ = bus.Process.Kill() // the daemon ends when its bus does
		_ = bus.Wait()
	})
	var address string
	if _, err := fmt.Fscanln(out, &address); err != nil {
		return nil, fmt.Errorf("start dbus-daemon: %w", err)
	}
	return environment, nil
}

// Whether the daemon runs before the work begins, and has listed the roots once, or the work's first call starts it.
const (
	daemonRuns  = true
	daemonRests = false
)

// asking is the command that asks the daemon on a bus.
func (s *stage) asking(ctx context.Context, environment []string, running bool, args ...string) (*exec.Cmd, error) {
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "impermanence"), args...)
		cmd.Env = environment
		return cmd
	}
	if running {
		if text, err := command("roots").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("impermanence roots: %w\n%s", err, text)
		}
	}
	return command(args...), nil
}
