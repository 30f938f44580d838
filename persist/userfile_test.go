package persist

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReadUserFile(t *testing.T) {
	const uid = 1000
	for _, row := range []struct {
		name string
		make func(p string) error
		want error
	}{
		{"the user's own", func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("text"), 0o600), os.Chown(p, uid, uid))
		}, nil},
		{"root's", func(p string) error { return os.WriteFile(p, []byte("text"), 0o600) }, nil},
		{"none", func(string) error { return nil }, fs.ErrNotExist},
		{"somebody else's", func(p string) error { return errors.Join(os.WriteFile(p, []byte("text"), 0o600), os.Chown(p, 1, 1)) }, ErrUnsafePath},
		{"a symlink", func(p string) error { return os.Symlink("/etc/shadow", p) }, ErrUnsafePath},
		{"a symlink that stays", func(p string) error { return os.Symlink("other", p) }, ErrUnsafePath},
		{"a FIFO", func(p string) error { return unix.Mkfifo(p, 0o600) }, ErrUnsafePath},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o700) }, ErrUnsafePath},
		{"too large", func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Truncate(p, maxUserFile+1)) }, ErrUnsafePath},
	} {
		t.Run(row.name, func(t *testing.T) {
			home := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(home, "config"), 0o755), row.make(filepath.Join(home, "config/ignore"))); err != nil {
				t.Fatal(err)
			}
			data, err := ReadUserFile(home, "config/ignore", uid)
			if !errors.Is(err, row.want) || (err == nil) != (string(data) == "text") {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	home := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(home, "config")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadUserFile(home, "config/passwd", uid); !errors.Is(err, ErrUnsafePath) {
		t.Errorf("through a directory that is a symlink: %v", err)
	}
	if err := os.WriteFile(filepath.Join(home, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadUserFile(home, "file/ignore", uid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}
