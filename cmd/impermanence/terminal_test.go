package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// terminalPatience is how long a story waits for a screen.
const terminalPatience = 30 * time.Second

// screen is a terminal of 80 columns and 24 lines, of tmux, in which a command runs. What it writes comes through a FIFO
// too: so a story waits for the screen that it wants without asking again and again.
type screen struct {
	socket string
	events *os.File
}

// cmdTerminal runs a command in a terminal: terminal start COMMAND | keys KEY... | resize COLUMNS LINES | shows TEXT.
func (w *world) cmdTerminal(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(refuseNeg("terminal", neg))
	if len(args) == 0 {
		ts.Fatalf("usage: terminal start COMMAND | keys KEY... | resize COLUMNS LINES | shows TEXT")
	}
	switch args[0] {
	case "start":
		w.screen = startScreen(ts, strings.Join(args[1:], " "))
	case "keys":
		_, err := w.screen.tmux(append([]string{"send-keys", "-t", "story"}, args[1:]...)...)
		ts.Check(err)
	case "resize":
		_, err := w.screen.tmux("resize-window", "-t", "story", "-x", args[1], "-y", args[2])
		ts.Check(err)
	case "shows":
		ts.Check(w.screen.until(func(text string) bool { return strings.Contains(text, args[1]) }))
	default:
		ts.Fatalf("terminal: unknown %q", args[0])
	}
}

func startScreen(ts *testscript.TestScript, command string) *screen {
	dir, err := os.MkdirTemp(ts.MkAbs("."), "terminal")
	ts.Check(err)
	s := &screen{socket: filepath.Join(dir, "tmux")}
	fifo := filepath.Join(dir, "fifo")
	ts.Check(unix.Mkfifo(fifo, 0o600))
	events, err := os.OpenFile(fifo, os.O_RDWR|unix.O_NONBLOCK, 0)
	ts.Check(err)
	s.events = events
	ts.Defer(func() {
		_, _ = s.tmux("kill-server") // it may have ended by itself
		_ = events.Close()
	})
	script := filepath.Join(dir, "command")
	text := fmt.Sprintf("#!/bin/sh\nexport PATH=%q DBUS_SYSTEM_BUS_ADDRESS=%q ROOT=%q TZ=UTC LC_ALL=C.UTF-8 PAGER=\"sh %s\"\ncd %q\n%s\n",
		ts.Getenv("PATH"), ts.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), ts.Getenv("ROOT"), ts.MkAbs("pager"), ts.MkAbs("."), command)
	ts.Check(os.WriteFile(script, []byte(text), 0o700))
	_, err = s.tmux("new-session", "-d", "-s", "story", "-x", "80", "-y", "24", "cat")
	ts.Check(err)
	for _, setting := range [][]string{
		{"set-option", "-g", "remain-on-exit", "on"},
		{"set-option", "-g", "status", "off"},
		{"pipe-pane", "-O", "-t", "story", "exec cat >" + fifo},
		{"respawn-pane", "-k", "-t", "story", script},
	} {
		_, err := s.tmux(setting...)
		ts.Check(err)
	}
	return s
}

func (s *screen) tmux(args ...string) (string, error) {
	out, err := exec.Command("tmux", append([]string{"-f", "/dev/null", "-S", s.socket}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tmux %q: %w\n%s", args, err, out)
	}
	return string(out), err
}

// text is what the screen shows.
func (s *screen) text() string {
	text, err := s.tmux("capture-pane", "-p", "-t", "story")
	if err != nil {
		return err.Error()
	}
	return text
}

// until waits for a screen that is as it is wanted.
func (s *screen) until(wanted func(text string) bool) error {
	if err := s.events.SetReadDeadline(time.Now().Add(terminalPatience)); err != nil {
		return err
	}
	buffer := make([]byte, 64<<10)
	for !wanted(s.text()) {
		if _, err := s.events.Read(buffer); err != nil {
			return fmt.Errorf("the screen is not as wanted: %w:\n%s", err, s.text())
		}
	}
	return nil
}
