package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/impermanence/impermanence/test/bustest"
)

// TestStories runs the stories in testdata, each on a machine of its own.
func TestStories(t *testing.T) {
	programs := build(t)
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, story := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(story), ".txtar"), func(t *testing.T) {
			var bus string
			if filepath.Base(story) == "authorization.txtar" {
				bus = bustest.StartWithPolkit(t)
			} else {
				bus = bustest.Start(t)
			}
			w := newWorld(t, programs, bus)
			testscript.Run(t, testscript.Params{
				Files: []string{story}, Setup: w.setup, Cmds: w.commands(), RequireExplicitExec: true, RequireUniqueNames: true,
			})
		})
	}
}

// listenNotify makes the socket that a daemon tells its state to, as sd_notify(3) says.
func listenNotify(path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
}

// waitReady waits until READY=1 is told.
func waitReady(socket *net.UnixConn) error {
	buffer := make([]byte, 4096)
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return err
		}
		if strings.Contains("\n"+string(buffer[:n])+"\n", "\nREADY=1\n") {
			return nil
		}
	}
}
