package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/impermanence/impermanence/dbus"
)

// direct is how to work without a bus: with a daemon that this process starts, and that serves it alone.
type direct struct {
	noBus                        bool
	config, device, sysroot, top string
}

func (d *direct) add(flags *pflag.FlagSet) {
	flags.BoolVar(&d.noBus, "no-bus", false, "work without a bus, in a rescue shell or a chroot; root only")
	flags.StringVar(&d.config, "config", "", "without a bus: the configuration `FILE` or directory")
	flags.StringVar(&d.device, "device", "", "without a bus: the `DEVICE` of the file system")
	flags.StringVar(&d.sysroot, "sysroot", "", "without a bus: the `DIRECTORY` where the system is mounted")
	flags.StringVar(&d.top, "top", "", "without a bus: the `DIRECTORY` where the top level is mounted")
}

// options are the options of the daemon.
func (d *direct) options() []string {
	var options []string
	for name, value := range map[string]string{"config": d.config, "device": d.device, "sysroot": d.sysroot, "top": d.top} {
		if value != "" {
			options = append(options, "--"+name+"="+value)
		}
	}
	return options
}

// check says what is wrong with the options that go with --no-bus.
func (d *direct) check(command string) error {
	if len(d.options()) == 0 || d.noBus {
		return nil
	}
	return &usageError{errors.New("--config, --device, --sysroot and --top go with --no-bus only"), command + " --help"}
}

// ownDaemon is a daemon that serves this process alone, until its standard input ends.
type ownDaemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

// start starts a daemon and returns the connection to it.
func (d *direct) start(ctx context.Context) (*ownDaemon, dbus.Pipes, error) {
	if os.Geteuid() != 0 {
		return nil, dbus.Pipes{}, fmt.Errorf("work without a bus: %w: only root may", dbus.ErrAccessDenied)
	}
	program, err := daemonProgram()
	if err != nil {
		return nil, dbus.Pipes{}, err
	}
	o := &ownDaemon{cmd: exec.CommandContext(ctx, program, append(d.options(), "--stdio", "--log-level=err")...)}
	o.cmd.Stderr = &o.stderr
	in, err := o.cmd.StdinPipe()
	if err != nil {
		return nil, dbus.Pipes{}, err
	}
	out, err := o.cmd.StdoutPipe()
	if err == nil {
		err = o.cmd.Start()
	}
	return o, dbus.Pipes{ReadCloser: out, Out: in}, err
}

// end waits for the end of a daemon whose connection is closed: until its jobs have ended. It returns what it said last.
func (o *ownDaemon) end() string {
	_ = o.cmd.Wait() // how it ended is in what it said
	lines := strings.Split(strings.TrimSpace(o.stderr.String()), "\n")
	return lines[len(lines)-1]
}

// daemonProgram returns where the daemon is: installed or built beside this program.
func daemonProgram() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", fmt.Errorf("find impermanenced: %w", err)
	}
	dir := filepath.Dir(self)
	places := []string{filepath.Join(dir, "../lib/impermanence/impermanenced"), filepath.Join(dir, "impermanenced")}
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return place, nil
		}
	}
	return "", fmt.Errorf("find impermanenced: %w: it is neither %s nor %s", dbus.ErrUnreachable, places[0], places[1])
}
