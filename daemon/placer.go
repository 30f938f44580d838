package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"

	"github.com/impermanence/impermanence/dbus"
	"github.com/impermanence/impermanence/persist"
)

// Placer puts entries in their places.
type Placer interface {
	// Place puts all entries in their places, or has all of them put there, and returns what became of each. done, which
	// may be nil, is called for each one when it is known meanwhile. The error is that of the whole; what happened to one
	// entry stands in its result.
	Place(ctx context.Context, entries []persist.Entry, done func(persist.Result)) (persist.Report, error)
}

// PersistUnit is what PID 1 is asked to start: it puts all entries in place, for the whole machine to see.
const PersistUnit = "impermanence-persist.service"

// NewPlacer returns the placer that fits. A service of the running system is sandboxed, so its mounts are invisible to the
// host: there PID 1 does it. Elsewhere, in a rescue shell or for another sysroot, this process does.
func NewPlacer(sysroot, runDir string) Placer {
	if sysroot == "/" && os.Getenv("INVOCATION_ID") != "" && util.IsRunningSystemd() {
		return unitPlacer{runDir}
	}
	return NewDirectPlacer(sysroot)
}

// NewDirectPlacer returns a placer that puts entries in their places in this process, as a rescue shell does.
func NewDirectPlacer(sysroot string) Placer { return directPlacer{sysroot} }

// directPlacer mounts in this process.
type directPlacer struct{ sysroot string }

func (p directPlacer) Place(ctx context.Context, entries []persist.Entry, done func(persist.Result)) (persist.Report, error) {
	report, err := persist.Apply(ctx, persist.Options{Sysroot: p.sysroot, Done: done}, entries)
	if len(report.Results) > 0 && ctx.Err() == nil {
		err = nil // it joins the errors of the results
	}
	return report, err
}

// unitPlacer starts PersistUnit, which applies what is configured, and reads what that unit reports.
type unitPlacer struct{ runDir string }

func (p unitPlacer) Place(ctx context.Context, _ []persist.Entry, _ func(persist.Result)) (persist.Report, error) {
	dialing, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) { return dbus.Dial(dialing) })
	if err != nil {
		return persist.Report{}, fmt.Errorf("ask the service manager to start %s: %w", PersistUnit, err)
	}
	defer conn.Close()
	begun := time.Now()
	result := make(chan string, 1)
	if _, err := conn.StartUnitContext(ctx, PersistUnit, "replace", result); err != nil {
		return persist.Report{}, fmt.Errorf("start %s: %w", PersistUnit, err)
	}
	select {
	case how := <-result:
		return p.report(begun, how)
	case <-ctx.Done():
		_, err := conn.StopUnitContext(dialing, PersistUnit, "replace", nil)
		if err != nil {
			return persist.Report{}, fmt.Errorf("stop %s: %w", PersistUnit, err)
		}
		return persist.Report{}, ctx.Err()
	}
}

// report reads what the unit left, and tells it from what an earlier run has left.
func (p unitPlacer) report(begun time.Time, how string) (persist.Report, error) {
	path := filepath.Join(p.runDir, "persist.json")
	info, err := os.Stat(path)
	if err != nil || info.ModTime().Before(begun.Truncate(time.Second)) {
		return persist.Report{}, named(dbus.ErrMountFailed, "%s ended as %q without a report: see journalctl -u %s", PersistUnit, how, PersistUnit)
	}
	var report persist.Report
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return persist.Report{}, fmt.Errorf("read the report of %s: %w", PersistUnit, err)
	}
	return report, nil
}
