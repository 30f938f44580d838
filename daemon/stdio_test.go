package daemon_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/impermanence/impermanence/dbus"
)

// Whoever is served without a bus may be gone at any time, with both pipes: the job that it has begun is brought to where it
// can go on later, and the daemon ends well.
func TestEndToEndServedProcessIsKilled(t *testing.T) {
	m := newMachine(t)
	for age := range 60 {
		m.oldRoot(t, time.Duration(100-age)*day, "srv")
	}
	process := exec.Command(build(t), "--stdio", "--config="+m.config, "--run-dir="+m.runDir, "--sysroot="+m.sysroot, "--top="+m.top)
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	must(t, err)
	out, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	t.Cleanup(func() { _ = process.Process.Kill() })
	c, err := dbus.NewClient(t.Context(), dbus.ClientOptions{Peer: dbus.Pipes{ReadCloser: out, Out: in}})
	must(t, err)
	one := uint32(1)
	_, err = c.Prune(t.Context(), dbus.PruneOptions{KeepLast: &one})
	must(t, err)
	_ = out.Close() // what it tells from here on has nowhere to go
	_ = in.Close()  // the client has, where it noticed
	must(t, process.Wait())
	left, err := filepath.Glob(filepath.Join(m.runDir, "jobs", "*.json"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("the job was cut off: %q", left)
	}
}
