package main

import (
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

	"go.uber.org/zap"

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
	options, level, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return exitUsage
	}
	log, control, err := daemon.NewLog(stderr, level)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return exitUsage
	}
	options.Version, options.Log, options.Now, options.Notify = version, log, time.Now, daemon.NewNotifier(log)
	if err := serve(options, control); err != nil {
		log.Error("the daemon ends", zap.Error(err))
		return exitFailed
	}
	return exitDone
}

// parse reads the flags.
func parse(args []string, w io.Writer) (options daemon.Options, level string, err error) {
	flags := flag.NewFlagSet("impermanenced", flag.ContinueOnError)
	flags.SetOutput(w)
	flags.StringVar(&options.Config.Path, "config", "", "configuration `file` or directory (default: the usual places)")
	flags.StringVar(&options.RunDir, "run-dir", daemon.DefaultRunDir, "runtime `directory`")
	flags.StringVar(&options.Device, "device", "", "`device` of the file system (default: the configuration's, else the mounted one)")
	flags.StringVar(&options.Sysroot, "sysroot", "/", "`directory` where the booted system is")
	flags.StringVar(&options.Top, "top", "", "`directory` where the top level is mounted (default: top in the runtime directory when it is mounted there, else the device is mounted privately)")
	flags.StringVar(&level, "log-level", "info", "`level` of the log: err, warning, info or debug")
	flags.DurationVar(&options.IdleExit, "idle-exit", 0, "end after this `time` without a call, such as 10m; the bus starts the daemon again (default: stay)")
	showVersion := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		return options, level, err
	}
	if *showVersion {
		_, _ = fmt.Fprintln(w, version)
		return options, level, flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return options, level, fmt.Errorf("unexpected argument %q; see impermanenced --help", flags.Arg(0))
	}
	return options, level, nil
}

// serve connects the daemon with the bus and runs both until a signal ends them.
func serve(options daemon.Options, control *daemon.Log) error {
	stopping, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)

	// What polkit is asked over outlives the server, which finishes what is in flight.
	dialed, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	conn, err := dbus.Dial(dialed)
	if err != nil {
		return err
	}
	d := daemon.New(options)
	server := dbus.NewServer(dbus.ServerConfig{
		Backend: d, Authorizer: dbus.NewPolkit(conn), LogControl: control, Log: options.Log,
		StreamDir: filepath.Join(options.RunDir, "streams"),
	})
	d.OnChange(server.Changed)
	return d.Supervise(stopping, reload, server)
}
