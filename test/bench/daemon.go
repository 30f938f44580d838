package main

import (
	"bytes"
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

// daemon starts a private bus and, by calling it, impermanenced on the disk; it has listed its roots once. Both go with the disk.
func (d *disk) daemon(ctx context.Context, top string) (address string, err error) {
	dir := d.stage.path("bus")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	config, err := d.config(rolloverConfig)
	if err != nil {
		return "", err
	}
	service := fmt.Sprintf(activation, d.stage.bin, config, d.device, top, d.stage.path("run"), top)
	if err := os.WriteFile(filepath.Join(dir, "org.impermanence1.service"), []byte(service), 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), fmt.Appendf(nil, busConfig, dir), 0o644); err != nil {
		return "", err
	}
	bus := exec.CommandContext(ctx, "dbus-daemon", "--nofork", "--print-address", "--config-file="+filepath.Join(dir, "bus.conf"))
	var log bytes.Buffer
	bus.Stderr = &log
	environment := append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(dir, "socket"))
	bus.Env = environment // the daemon that it starts inherits it
	out, err := bus.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := bus.Start(); err != nil {
		return "", err
	}
	d.undo = append(d.undo, func() {
		_ = bus.Process.Kill() // the daemon ends when its bus does
		_ = bus.Wait()
	})
	if _, err := fmt.Fscanln(out, &address); err != nil {
		return "", fmt.Errorf("start dbus-daemon: %w", err)
	}
	roots := exec.CommandContext(ctx, filepath.Join(d.stage.bin, "impermanence"), "roots")
	roots.Env = environment
	if text, err := roots.CombinedOutput(); err != nil {
		return "", fmt.Errorf("impermanence roots: %w\n%s%s", err, text, log.Bytes())
	}
	return address, nil
}
