package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// The exit codes, which doc.go explains.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitEmergency
)

// version is set by the linker.
var version = "unknown"

const usage = `usage: impermanence-initrd [OPTION…] rollover|persist

  rollover   make each ephemeral root an old root and put a fresh one in its place; before the root is mounted
  persist    put the entries of persistent volumes in place; after root and volumes are mounted

`

// collectAt is how much memory, in bytes, a run takes before garbage is collected: it is over in milliseconds and takes less
// with a thousand entries, but the collector would take a tenth of them.
const collectAt = 64 << 20

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(collectAt)
	os.Exit(run(context.Background(), os.Args[1:], newLogger(os.Stderr, readerOf(os.Stderr))))
}

// options are what the flags say.
type options struct {
	config, device, sysroot, cmdline, runDir string
	keepGoing, keepMounted, isolateEmergency bool
}

// run is the whole command. A panic in it is a failure like any other: the boot goes on.
func run(ctx context.Context, args []string, log *logger) (code int) {
	defer func() {
		if r := recover(); r != nil {
			log.error("internal error: %v; the boot goes on", r)
			code = exitFailed
		}
	}()
	o, command, err := parse(args, log.w)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		log.error("%v", err)
		return exitUsage
	case command == "version":
		_, _ = fmt.Fprintln(log.w, version)
		return exitDone
	}
	if command == "persist" {
		return persistUntilSignal(ctx, o, log)
	}
	cmdline, err := readCmdline(o.cmdline)
	if err != nil {
		log.error("%v", err)
		return exitFailed
	}
	return rollover(ctx, o, parseCmdline(cmdline), log)
}

// persistUntilSignal puts entries in place, which may copy much: a signal ends it between two entries, and its report says so.
// A rollover takes milliseconds and may be killed at any step, so it does without.
func persistUntilSignal(ctx context.Context, o options, log *logger) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return persistEntries(ctx, o, log)
}

// parse reads flags that stand before or after the command.
func parse(args []string, w io.Writer) (options, string, error) {
	var o options
	flags := flag.NewFlagSet("impermanence-initrd", flag.ContinueOnError)
	flags.SetOutput(w)
	flags.Usage = func() {
		_, _ = io.WriteString(w, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.config, "config", "", "configuration `file` or directory (default: the usual places)")
	flags.StringVar(&o.device, "device", "", "`device` of the file system (default: the configuration's, else root= of the kernel command line)")
	flags.StringVar(&o.sysroot, "sysroot", "/sysroot", "`directory` where the root is mounted")
	flags.StringVar(&o.cmdline, "cmdline", "@/proc/cmdline", "kernel command line, or @`file` that holds it")
	flags.StringVar(&o.runDir, "run-dir", "/run/impermanence", "runtime `directory`")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "persist: put the right entries in place although others are invalid; at boot, one typing error must not cost all")
	flags.BoolVar(&o.keepMounted, "keep-mounted", false, "rollover: leave the top level of the root's file system mounted at top in the runtime directory; in an initrd, which takes that along")
	flags.BoolVar(&o.isolateEmergency, "isolate-emergency", false, "rollover: where onFailure = \"emergency\" asks to stop the boot, have systemd isolate emergency.target")
	if err := flags.Parse(args); err != nil {
		return o, "", err
	}
	command := flags.Arg(0)
	if flags.NArg() > 1 {
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return o, "", err
		}
		if flags.NArg() > 0 {
			return o, "", fmt.Errorf("unexpected argument %q; see impermanence-initrd -help", flags.Arg(0))
		}
	}
	switch command {
	case "rollover", "persist", "version":
		return o, command, nil
	case "":
		return o, "", errors.New("no command: give rollover or persist; see impermanence-initrd -help")
	default:
		return o, "", fmt.Errorf("unknown command %q: give rollover or persist; see impermanence-initrd -help", command)
	}
}

// readCmdline returns the kernel command line that a flag gives, literally or as @file.
func readCmdline(value string) (string, error) {
	file, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return value, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the kernel command line: %w", err)
	}
	return string(data), nil
}
