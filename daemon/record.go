package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// readRecord reads what a daemon before this one has left in the runtime directory; nothing when it has left none.
func (d *Daemon) readRecord(name string, record any) error {
	data, err := os.ReadFile(filepath.Join(d.opts.RunDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, record)
	}
	return err
}

// writeRecord leaves something in the runtime directory for the next start of the daemon.
func (d *Daemon) writeRecord(name string, record any) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(d.opts.RunDir, name), append(data, '\n'), 0o644, renameio.WithTempDir(d.opts.RunDir))
	}
	return err
}
