package persist

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ReadFile reads a small regular file of the root that is mounted at sysroot. Symlinks on the way are followed as for entries, the last is not.
func ReadFile(sysroot, p string) ([]byte, error) {
	paths, err := newResolver(&kernel{}, sysroot)
	if err != nil {
		return nil, err
	}
	defer paths.close()
	return paths.readFile(p)
}

// NotMounted picks the mount points, as the booted system has them, at which nothing is mounted yet in the root at sysroot.
func NotMounted(sysroot string, points []string) ([]string, error) {
	paths, err := newResolver(&kernel{}, sysroot)
	if err != nil {
		return nil, err
	}
	defer paths.close()
	var later []string
	for _, point := range points {
		st, err := paths.stat(point)
		if errors.Is(err, unix.ENOENT) || err == nil && !objectOf(st).Mount { // what can't be looked at is told with the entry
			later = append(later, point)
		}
	}
	return later, nil
}

// later tells that an entry has nothing on its volume yet, and that what its place is to be on is mounted later: what would be made now, of what
// stands there until then, would be put over what that has.
func (s *session) later(e Entry, source Object) error {
	if source.Kind != Absent {
		return nil
	}
	for _, point := range s.opts.Later {
		if Below(e.Target, point) {
			return fmt.Errorf("%s: %w", point, ErrNotMounted)
		}
	}
	return nil
}
