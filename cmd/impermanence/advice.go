package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/impermanence/impermanence/daemon/machine"
	"github.com/impermanence/impermanence/daemon/setup"
	"github.com/impermanence/impermanence/daemon/template"
	"github.com/impermanence/impermanence/dbus"
)

// advised is an error with the command to type next, where the place that it comes from knows better than the table.
type advised struct {
	err error
	try string
}

func (e *advised) Error() string { return e.err.Error() }
func (e *advised) Unwrap() error { return e.err }

// What stands in advice for the command line that was typed, and for its command.
const (
	again = "{again}"
	usage = "{command} --help"

	journal = "journalctl -b -u impermanenced.service"
	restart = "sudo systemctl restart impermanenced.service"
)

// advice is what to type next after an error.
type advice struct {
	is  error
	try string
}

// adviceTable is what to type next after the errors of the daemon; the first line that fits counts.
func adviceTable() []advice {
	return []advice{
		{context.Canceled, "impermanence status"}, // interrupted before the daemon answered: it may have begun
		{dbus.ErrUnreachable, "systemctl status impermanenced.service"},
		{dbus.ErrInteractiveAuthorizationRequired, "sudo " + again},
		{dbus.ErrAccessDenied, "sudo " + again},
		{errAmbiguous, "impermanence roots"},
		{dbus.ErrNoSuchRoot, "impermanence roots"},
		{dbus.ErrNoSuchEntry, "impermanence status"},
		{dbus.ErrNoSuchJob, "impermanence status"},
		{dbus.ErrProtected, "impermanence roots"},
		{dbus.ErrBusy, "impermanence status"},
		{dbus.ErrLimitsExceeded, "impermanence status"},
		{dbus.ErrNoSpace, "impermanence prune --dry-run"},
		{dbus.ErrNotBtrfs, "findmnt -t btrfs"},
		{dbus.ErrInvalidConfiguration, "impermanence status"},
		{dbus.ErrSourceMissing, "impermanence status"},
		{dbus.ErrTargetConflict, "impermanence status"},
		{dbus.ErrMountFailed, journal},
		{dbus.ErrMountBusy, "impermanence status"},
		{dbus.ErrStateChanged, again},
		{dbus.ErrCanceled, again},
		{dbus.ErrNotCancelable, "impermanence status"},
		{dbus.ErrRootExists, "impermanence roots"},
		{dbus.ErrInvalidName, usage},
		{dbus.ErrInvalidArgs, usage},
		{dbus.ErrNotSupported, "impermanence status"},
		// The daemon that runs is not of this version.
		{dbus.ErrUnknownObject, restart},
		{dbus.ErrUnknownInterface, restart},
		{dbus.ErrUnknownMethod, restart},
		{dbus.ErrUnknownProperty, restart},
		{dbus.ErrPropertyReadOnly, restart},
		{dbus.ErrInternal, journal},
	}
}

// setUpAdvice is what to type next after the errors of what needs no daemon.
func setUpAdvice() []advice {
	return []advice{
		{setup.ErrNotInstalled, "install the package there, or make install"},
		{setup.ErrAlready, "sudo impermanence check"},
		{setup.ErrConfigured, "sudo impermanence check"},
		{setup.ErrNotSetUp, "sudo impermanence setup --dry-run"},
		{setup.ErrTaken, usage},
		{setup.ErrNoPreset, "ls /usr/lib/impermanence/presets"},
		{setup.ErrLayout, "findmnt -t btrfs"},
		{setup.ErrNotEmpty, "lsblk --fs"},
		{setup.ErrNoDevice, "lsblk --fs"},
		{setup.ErrNoProgram, "install it, and run setup again"},
		{setup.ErrLists, "sudo impermanence setup --dry-run"},
		{setup.ErrAside, "ls /etc/impermanence/conf.d"},
		{setup.ErrChanged, "sudo impermanence setup --undo"},
		{setup.ErrNested, "sudo btrfs subvolume list -o /"},
		{setup.ErrNotBtrfs, usage},
		{template.ErrNotConfigured, "sudo impermanence setup --dry-run"},
		{template.ErrCommitted, "sudo impermanence template show"},
		{template.ErrDiverged, "sudo impermanence template show"},
		{machine.ErrNotMounted, "findmnt"},
	}
}

// adviceFor returns what to type next after an error, by the table; "" when no line fits.
func adviceFor(err error) string {
	for _, line := range slices.Concat(adviceTable(), setUpAdvice()) {
		if errors.Is(err, line.is) {
			return line.try
		}
	}
	return ""
}

// advice returns the command to type next after an error, "" when there is none to give.
func (a *app) advice(err error) string {
	try := adviceFor(err)
	var known *advised
	var wrong *usageError
	switch {
	case errors.As(err, &wrong):
		try = wrong.try
	case errors.As(err, &known):
		try = known.try
	}
	return strings.NewReplacer("{again}", commandLine(a.args), "{command}", a.name).Replace(try)
}

// commandLine returns arguments as they would be typed in a shell after the name of the program.
func commandLine(args []string) string { return typed(args, quote) }

func typed(args []string, quote func(string) string) string {
	words := []string{"impermanence"}
	for _, arg := range args {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// quote returns a word as it would be typed: where it has what is escaped when it is printed, as bash, zsh and ksh read escapes.
func quote(word string) string {
	if utf8.ValidString(word) && strings.IndexFunc(word, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return literally(word)
	}
	return "$'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(word) + "'"
}

// literally returns a word as any shell takes it.
func literally(word string) string {
	harmless := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("%+,-./:=@_", r)
	}
	if word != "" && strings.TrimFunc(word, harmless) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
