package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// readRecord reads what a daemon before this one, or a service, has left in the runtime directory; nothing when it has left none.
func (o Options) readRecord(name string, record any) error {
	data, err := os.ReadFile(filepath.Join(o.RunDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, record)
	}
	return err
}

// writeRecord leaves something in the runtime directory for the next start of the daemon.
func (o Options) writeRecord(name string, record any) error {
	data, err := json.MarshalIndent(record, "", "  ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(o.RunDir, name), append(data, '\n'), 0o644, renameio.WithTempDir(o.RunDir))
	}
	return err
}
