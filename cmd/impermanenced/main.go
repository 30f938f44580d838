package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/impermanence/impermanence/daemon"
	"github.com/impermanence/impermanence/dbus"
)

// The exit codes.
const (
	exitDone = iota
	exitFailed
	exitUsage
)

// version is set by the linker.
var version = "unknown"

// collectAt makes the garbage collector run when the heap has grown by half: the daemon is idle most of the time, and its
// peak counts more than its speed.
const collectAt = 50

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	f, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return exitUsage
	}
	log, err := daemon.NewLog(stderr, f.level)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return exitUsage
	}
	if f.restore != "" {
		return restore(f, stderr)
	}
	f.Version, f.Log, f.control, f.Now, f.Notify = version, log, log, time.Now, daemon.NewNotifier(log)
	if err := commands[f.command](f); err != nil {
		log.Errorw("ends early", "error", err)
		return exitFailed
	}
	return exitDone
}

// options are what the flags say.
type options struct {
	daemon.Options
	command string // empty: be the daemon
	level   string
	control dbus.LogControl
	stdio   bool
	restore string // name of the socket through which a daemon asks for a restore
}

// parse reads the flags.
func parse(args []string, w io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("impermanenced", flag.ContinueOnError)
	flags.SetOutput(w)
	flags.StringVar(&o.Config.Path, "config", "", "configuration `file` or directory (default: the usual places below sysroot)")
	flags.StringVar(&o.RunDir, "run-dir", daemon.DefaultRunDir, "runtime `directory`")
	flags.StringVar(&o.Device, "device", "", "`device` of the file system (default: the configuration's, else the mounted one)")
	flags.StringVar(&o.Sysroot, "sysroot", "/", "`directory` where the booted system is")
	flags.StringVar(&o.Top, "top", "", "`directory` where the top level is mounted (default: top in the runtime directory when it is mounted there, else the device is mounted privately)")
	flags.StringVar(&o.level, "log-level", "info", "`level` of the log: err, warning, info or debug")
	flags.DurationVar(&o.IdleExit, "idle-exit", 0, "end after this `time` without a call, such as 10m; the bus starts the daemon again (default: stay)")
	flags.BoolVar(&o.stdio, "stdio", false, "serve the process at standard input and output instead of a bus, until it hangs up; root only")
	flags.StringVar(&o.restore, "restore", "", "restore what a running daemon asks for through the socket of this `name`; for impermanence-restore@.service")
	showVersion := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if *showVersion {
		_, _ = fmt.Fprintln(w, version)
		return o, flag.ErrHelp
	}
	if o.command = flags.Arg(0); flags.NArg() > 1 {
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return o, err
		}
	}
	if _, known := commands[o.command]; !known || o.command != "" && flags.NArg() > 1 {
		return o, fmt.Errorf("unexpected argument %q; see impermanenced --help", flags.Arg(0))
	}
	o.Config.Root = o.Sysroot
	return o, nil
}

// streamDir is where large results are read: in a directory that everybody may enter, which that of early boot is not.
func streamDir(runDir string) string {
	return filepath.Join(cmp.Or(os.Getenv("RUNTIME_DIRECTORY"), runDir), "streams")
}

// serve connects the daemon with those who call it and runs both until a signal ends them, or the one that is served
// hangs up.
func serve(o options) error {
	ends := []os.Signal{syscall.SIGTERM, os.Interrupt}
	if o.stdio { // Ctrl-C is meant for the one that is served; when that one is gone, a job is brought to a good end first
		signal.Ignore(os.Interrupt, syscall.SIGPIPE)
		ends = ends[:1]
	}
	stopping, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)

	// What polkit is asked over outlives the server, which finishes what is in flight.
	dialed, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	config := dbus.ServerConfig{LogControl: o.control, Log: o.Log, StreamDir: streamDir(o.RunDir)}
	if o.stdio {
		o.Placer = daemon.NewDirectPlacer(o.Options)
		config.Peer = dbus.Pipes{ReadCloser: os.Stdin, Out: os.Stdout}
		config.Authorizer = dbus.RootAlone{}
	} else {
		config.Authorizer = dbus.NewPolkit(dialed, "")
	}
	d := daemon.New(o.Options)
	config.Backend = d
	server := dbus.NewServer(config)
	d.OnChange(server.Changed)
	err := d.Supervise(stopping, reload, server)
	if errors.Is(err, dbus.ErrPeerLeft) {
		return nil
	}
	return err
}
