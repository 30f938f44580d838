package persist

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxUserFile bounds what ReadUserFile reads.
const maxUserFile = 1 << 20

// ReadUserFile reads a file that a user may have written, name below dir, for a process that may more than the user: never
// through a symlink in name, and nothing but a regular file of at most 1 MiB that is the user's own or root's. Errors:
// fs.ErrNotExist, ErrUnsafePath.
func ReadUserFile(dir, name string, uid uint32) ([]byte, error) {
	k := &kernel{}
	below, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, wrap("open", dir, err)
	}
	defer k.close(below)
	fd, err := k.open(below, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY) // a FIFO must not hold us up
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return nil, fmt.Errorf("%w: %w", unix.ENOENT, err)
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("%w: %s below %s leads through a symlink", ErrUnsafePath, name, dir)
	case err != nil:
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	st, err := k.stat(fd, "")
	switch {
	case err != nil:
		return nil, err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("%w: %s below %s is no regular file", ErrUnsafePath, name, dir)
	case st.Uid != uid && st.Uid != 0:
		return nil, fmt.Errorf("%w: %s below %s belongs to another user", ErrUnsafePath, name, dir)
	case st.Size > maxUserFile:
		return nil, fmt.Errorf("%w: %s below %s has more than %d bytes", ErrUnsafePath, name, dir, maxUserFile)
	}
	return io.ReadAll(io.LimitReader(f, maxUserFile))
}
